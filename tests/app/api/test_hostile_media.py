"""Real hostile files through ``POST /v1/files``; needs PIXELMETER_TEST_MEDIA."""

from pathlib import Path

import pytest

from tests.app.api.callers import Caller, Traces, assert_problem

# Odd but sound: these can be worked on, and must not be refused.
SOUND = {
    "avif_paris_exif_orientation_5.jpg",
    "cmyk_face.jpg",
    "flat_black.png",
    "one_frame.mp4",
    "one_pixel.png",
    "orient_2.jpg",
    "orient_3.jpg",
    "orient_5.jpg",
    "orient_6.jpg",
    "orient_8.jpg",
    "palette_trns.png",
    "pillow_hopper_orientation_6.jpg",
    "pillow_hopper_orientation_8.webp",
    "pillow_pil_sample_cmyk.jpg",
}


def test_every_hostile_file_is_taken_or_refused_with_a_code(
    caller: Caller, traces: Traces, test_media: Path
) -> None:
    stored, verdicts = 0, {}
    for path in sorted((test_media / "hostile").iterdir()):
        answer = caller.upload(path.read_bytes(), name=path.name)
        if answer.status_code == 201:
            stored += 1
            verdicts[path.name] = answer.json["media_type"]
        else:
            assert_problem(answer, status=422, code=answer.json["code"])
            verdicts[path.name] = answer.json["code"]
        left = traces.look()
        assert (left["stored"], left["file"]) == (stored, stored), path.name
    assert "internal_error" not in verdicts.values()
    refused = {name for name in SOUND if "/" not in verdicts[name]}
    assert refused == set(), {name: verdicts[name] for name in refused}
    for name in ("empty.jpg", "empty.mp4"):
        assert verdicts[name] == "empty_file"
    for name in ("bomb_header_2g.png",):
        assert verdicts[name] == "image_too_large"


@pytest.mark.parametrize("name", ["long_1h_black.mp4"])
def test_a_tiny_file_of_an_hour_is_refused_for_its_length(
    caller: Caller, test_media: Path, name: str
) -> None:
    answer = caller.upload((test_media / "hostile" / name).read_bytes(), name=name)
    assert_problem(answer, status=422, code="video_too_long")
