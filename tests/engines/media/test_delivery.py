import pytest
from pydantic import BaseModel, ValidationError

from engines.errors import InvalidInputError
from engines.media import delivery
from engines.media.containers import MATROSKA, MOV, MP4, WEBM
from engines.media.delivery import (
    Quality,
    ResultContainer,
    VideoContainer,
    VideoQuality,
    check_delivery,
    encoding_of,
)
from engines.media.encoding import NVENC, X264, Encoding, output_container
from engines.media.index import index_video
from tests.engines.media.parts import pictures, whole

GIVEN = {"mp4": MP4, "mov": MOV, "mkv": MATROSKA, "webm": WEBM}


class Asked(BaseModel):
    quality: VideoQuality = None
    container: ResultContainer = None


def test_names_are_checked():
    assert Asked(quality="low", container="webm").container is VideoContainer.WEBM
    for wrong in ({"quality": "best"}, {"quality": 18}, {"container": "avi"}):
        with pytest.raises(ValidationError):
            Asked(**wrong)


@pytest.mark.parametrize("asked", [{"quality": "high"}, {"container": "mp4"}])
def test_wishes_about_a_video_are_refused_where_none_is_given_back(asked):
    wishes = Asked(**asked)
    check_delivery(wishes.quality, wishes.container, gives_video=True)
    check_delivery(None, None, gives_video=False)
    with pytest.raises(InvalidInputError, match=next(iter(asked))) as caught:
        check_delivery(wishes.quality, wishes.container, gives_video=False)
    assert caught.value.code == "option_unsupported"


def test_parts_are_encoded_in_software_wherever_they_run(monkeypatch):
    monkeypatch.setattr(delivery, "choose_encoder", lambda: NVENC)
    assert encoding_of(None, None, in_parts=False).encoder == NVENC
    assert encoding_of(None, None, in_parts=True).encoder == X264


def test_better_quality_keeps_more(clip, tmp_path):
    sizes = []
    for quality in (Quality.LOW, Quality.MEDIUM, Quality.HIGH, Quality.LOSSLESS):
        result = whole(
            clip("keyed.mp4"), tmp_path, encoding=encoding_of(quality, None, in_parts=True)
        )
        sizes.append(result.stat().st_size)
    assert sizes == sorted(sizes)
    assert len(set(sizes)) == 4
    assert pictures(result) == pictures(clip("keyed.mp4"))


@pytest.mark.parametrize(
    ("name", "container"),
    [
        ("keyed.mp4", "mkv"),
        ("keyed.mp4", "mov"),
        ("keyed.webm", "webm"),
        ("keyed.webm", "mp4"),
        ("bt709.mp4", "webm"),
        ("odd.webm", "webm"),
    ],
)
def test_a_container_that_is_asked_for_is_given(clip, packets, tmp_path, name, container):
    encoding = encoding_of(Quality.LOW, VideoContainer(container), in_parts=True)
    before = index_video(clip(name))
    after = index_video(whole(clip(name), tmp_path, encoding=encoding))
    assert after.container == GIVEN[container]
    assert after.codec == ("vp9" if container == "webm" else "h264")
    assert after.frames == before.frames
    assert after.sample_aspect == before.sample_aspect
    if before.picture.colour.matrix != "gbr":  # stored as BT.709
        assert after.picture.colour.matrix == before.picture.colour.matrix
    if before.has_audio:
        assert packets(clip(name), "a") == packets(tmp_path / f"whole.{container}", "a")


@pytest.mark.parametrize(
    ("name", "container"),
    [
        ("constant.mp4", WEBM),  # AAC
        ("subtitled.mkv", MP4),  # SubRip, Vorbis
        ("subtitled.mkv", WEBM),  # SubRip
        ("camera.mov", MP4),  # PCM
    ],
)
def test_one_that_cannot_hold_the_sound_or_subtitles_is_refused(clip, tmp_path, name, container):
    with pytest.raises(InvalidInputError, match="unchanged") as caught:
        whole(clip(name), tmp_path, encoding=Encoding(container=container))
    assert caught.value.code == "container_unsuitable"
    assert not list(tmp_path.iterdir())


def test_without_a_wish_the_source_decides(clip):
    chosen = {
        name: output_container(index_video(clip(name)))
        for name in ("constant.mp4", "camera.mov", "subtitled.mkv", "keyed.webm", "old.avi")
    }
    assert list(chosen.values()) == [MP4, MOV, MATROSKA, MP4, MP4]
