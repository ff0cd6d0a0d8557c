"""Opening a weights file: a stranger's only ever in its own confined process.

What is a stranger's is said by where it lies, so that no caller can forget to ask.
"""

from pathlib import Path

from engines.foreign.runner import SandboxedRunner
from engines.runners.base import Runner
from engines.runners.ort import open_onnx

FOREIGN_FOLDER = "foreign"  # inside the store: files named by their sha256


def is_foreign(path: Path) -> bool:
    """Whether a file of the store was brought by a tenant."""
    return path.parent.name == FOREIGN_FOLDER


def open_network(path: Path, *, threads: int) -> Runner:
    """The network of a verified weights file, in this process or in one of its own."""
    if is_foreign(path):
        return SandboxedRunner(path.read_bytes(), inspected=True)
    return open_onnx(path, threads=threads)
