import pytest
from PIL import Image

from app.demo.errors import DemoError
from app.demo.media import (
    find_font,
    find_photos,
    frame_at,
    is_video,
    make_grey,
    own_media,
    render_clip,
)
from engines.media.limits import MediaLimits
from engines.media.probe import probe


def test_the_photographs_are_real_files_of_the_wheels():
    photos = find_photos()
    for name in ("astronaut", "hopper", "camera", "cat", "coffee", "rocket"):
        with Image.open(getattr(photos, name)) as picture:
            assert min(picture.size) >= 300, name
    assert find_font().is_file()


def test_a_missing_package_is_told_with_the_command_that_brings_it(monkeypatch):
    monkeypatch.setattr("app.demo.media.find_spec", lambda _name: None)
    with pytest.raises(DemoError, match=r"scikit-image.*pip install"):
        find_photos()


def test_the_clip_has_a_picture_that_moves_and_sound(tmp_path):
    clip = tmp_path / "clip.mp4"
    render_clip(find_photos(), clip, seconds=2.0, fps=10)
    info = probe(clip, MediaLimits())
    assert (info.width, info.height, info.frames, info.has_audio) == (640, 360, 20, True)
    frame_at(clip, 0.1, tmp_path / "early.png")
    frame_at(clip, 1.5, tmp_path / "late.png")
    with Image.open(tmp_path / "early.png") as early, Image.open(tmp_path / "late.png") as late:
        assert early.size == (640, 360)
        assert early.tobytes() != late.tobytes()


def test_a_photograph_without_its_colours_is_grey(tmp_path):
    make_grey(find_photos().rocket, tmp_path / "grey.png", width=400)
    with Image.open(tmp_path / "grey.png") as grey:
        assert grey.mode == "L"
        assert grey.width == 400


def test_an_unreadable_input_is_told_in_ffmpegs_words(tmp_path):
    (tmp_path / "no.png").write_text("not a picture")
    with pytest.raises(DemoError, match="ffmpeg could not prepare"):
        make_grey(tmp_path / "no.png", tmp_path / "out.png", width=10)


def test_a_folder_of_yours_is_searched_for_pictures_and_videos(tmp_path):
    (tmp_path / "bw").mkdir()
    for name in ("b.JPG", "a.png", "notes.txt", "bw/c.mp4"):
        (tmp_path / name).write_text("")
    found = list(own_media(tmp_path))
    assert [path.name for path in found] == ["a.png", "b.JPG", "c.mp4"]
    assert [is_video(path) for path in found] == [False, False, True]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DemoError, match="nowhere is not a folder"):
        list(own_media(tmp_path / "nowhere"))
