import shutil

import pytest

from app.demo.errors import DemoError
from app.demo.media import find_photos, is_video
from app.demo.plan import own_jobs, shipped_jobs


def test_the_shipped_jobs_use_six_photographs_a_video_and_every_engine(tmp_path):
    jobs = shipped_jobs(find_photos(), tmp_path)
    assert {job.engine for job in jobs} == {"detect", "colorize", "face-swap"}
    targets = {job.target for job in jobs}
    assert sum(is_video(path) for path in targets) == 1
    assert len([path for path in targets if not is_video(path)]) >= 6
    assert all(path.is_file() for path in targets)


def test_a_folder_of_yours_is_read_by_the_names_of_its_subfolders(tmp_path):
    photo = find_photos().camera
    for name in ("street.png", "bw/old.png", "faces/a.png", "faces/b.png", "clips/c.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(photo, tmp_path / name)
    jobs = own_jobs(tmp_path)
    by_engine = {
        engine: [job for job in jobs if job.engine == engine]
        for engine in ("detect", "colorize", "face-swap")
    }
    assert len(by_engine["detect"]) == 5
    assert [job.target.name for job in by_engine["colorize"]] == ["old.png"]
    pairs = [(job.sources[0].name, job.target.name) for job in by_engine["face-swap"]]
    assert pairs == [("b.png", "a.png"), ("a.png", "b.png")]


def test_a_single_face_is_not_put_on_itself(tmp_path):
    (tmp_path / "faces").mkdir()
    shutil.copy(find_photos().camera, tmp_path / "faces" / "a.png")
    assert {job.engine for job in own_jobs(tmp_path)} == {"detect"}


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(DemoError, match="no picture and no video"):
        own_jobs(tmp_path)
