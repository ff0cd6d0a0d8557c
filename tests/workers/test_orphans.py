import subprocess
import sys
import time

import psutil

PARENT = """
import subprocess, sys, time
code = '''
import time
from workers.orphans import ParentWatch
ParentWatch(look_every_s=0.05).start()
print("watching", flush=True)
time.sleep(60)
'''
child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""


def test_a_child_ends_when_its_main_process_is_killed():
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    child = psutil.Process(int(parent.stdout.readline()))
    time.sleep(0.2)
    assert child.is_running()
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 5
    while _lives(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _lives(child)


def _lives(process):
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
