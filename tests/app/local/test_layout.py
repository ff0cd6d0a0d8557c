import os
from pathlib import Path

import pytest

from app.local.errors import HomeError
from app.local.layout import Layout, create_socket_folder, remove_socket_folder, socket_folder


def test_a_home_inside_a_file_is_refused_with_the_setting_that_helps(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HomeError, match=r"PIXELMETER_HOME .*file/home cannot be written.*Set"):
        Layout(tmp_path / "file" / "home").create()


def test_the_folders_are_private(tmp_path):
    layout = Layout(tmp_path / "home")
    layout.create()
    assert layout.logs.stat().st_mode & 0o077 == 0


def test_a_socket_lies_in_its_data_folder_when_its_path_is_short():
    assert socket_folder(Path("/srv/home/redis"), "redis.sock") == Path("/srv/home/redis")


def test_a_long_path_gets_a_short_folder_that_every_process_computes_alike():
    data = Path("/srv") / ("long" * 30) / "redis"
    folder = socket_folder(data, "redis.sock")
    assert folder == socket_folder(data, "redis.sock")
    assert folder != socket_folder(data.parent / "postgres", "redis.sock")
    assert len(os.fsencode(folder / "redis.sock")) < 100


def test_somebody_elses_socket_folder_is_refused(tmp_path):
    folder = tmp_path / "pixelmeter-x"
    create_socket_folder(folder)
    create_socket_folder(folder)
    with pytest.raises(HomeError, match="somebody else"):
        create_socket_folder(folder, uid=os.geteuid() + 1)
    remove_socket_folder(folder)
    assert not folder.exists()


def test_a_link_in_the_place_of_the_socket_folder_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(HomeError):
        create_socket_folder(link)
