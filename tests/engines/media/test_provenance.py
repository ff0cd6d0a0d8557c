"""The mark of origin in every kind of file: there, readable by others, and nothing else changed."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from engines.errors import EngineFaultError, InvalidInputError
from engines.media.limits import MediaLimits
from engines.media.probe import probe
from engines.media.provenance import Origin, Provenance, mark_file, read_origin
from engines.source_type import SourceType

PROVENANCE = Provenance(SourceType.EDITED, produce_id="job_01", producer="Studio <1>")
TERM = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
SAID = {"Label": "1", "ContentProducer": "Studio <1>", "ProduceID": "job_01"}
SIZE = (61, 43)
ARTIST = 0x013B

PICTURES = {
    "plain.png": ("RGB", {}),
    "alpha.png": ("RGBA", {}),
    "deep.png": ("I;16", {}),
    "plain.jpg": ("RGB", {"quality": 90}),
    "grey.jpg": ("L", {"quality": 90}),
    "lossy.webp": ("RGB", {"quality": 80}),
    "lossless.webp": ("RGB", {"lossless": True}),
    "alpha.webp": ("RGBA", {"quality": 80}),
    "alpha_lossless.webp": ("RGBA", {"lossless": True}),
    "plain.tif": ("RGB", {}),
    "deflated.tif": ("RGB", {"compression": "tiff_adobe_deflate"}),
}


@pytest.fixture
def picture(tmp_path):
    """A picture of noise, with profile, EXIF and, if asked for, XMP of its own."""

    def make(name, *, facts=True, xmp=None):
        mode, options = PICTURES[name]
        rng = np.random.default_rng(5)
        if mode == "I;16":
            image = Image.fromarray(rng.integers(0, 65_535, SIZE[::-1], dtype=np.uint16))
        else:
            bands = len(mode)
            samples = rng.integers(0, 255, (*SIZE[::-1], bands), dtype=np.uint8)
            image = Image.fromarray(samples.squeeze(), mode=mode)
        if facts:
            exif = Image.Exif()
            exif[ARTIST] = "somebody"
            profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
            options = {**options, "exif": exif, "icc_profile": profile}
        if xmp is not None:
            options = {**options, "xmp": xmp}
        path = tmp_path / name
        image.save(path, **options)
        return path

    return make


def samples(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def facts(path: Path) -> tuple[object, ...]:
    with Image.open(path) as image:
        return image.info.get("icc_profile"), image.getexif().get(ARTIST), image.info.get("dpi")


def told(origin: Origin) -> bool:
    return origin.digital_source_type == TERM and dict(origin.aigc or {}).items() >= SAID.items()


@pytest.mark.parametrize("has_facts", [False, True])
@pytest.mark.parametrize("name", PICTURES)
def test_a_marked_picture_has_the_same_samples_profile_and_exif(picture, name, has_facts):
    path = picture(name, facts=has_facts)
    before = samples(path), facts(path)
    assert read_origin(path) == Origin(read_origin(path).media_type, None, None)
    mark_file(path, PROVENANCE)
    assert (samples(path) == before[0]).all()
    assert facts(path) == before[1]
    assert told(read_origin(path))
    probe(path, MediaLimits())  # whole, and nothing behind its end


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_marked_once_and_says_the_last(picture, name):
    path = picture(name)
    mark_file(path, Provenance(SourceType.GENERATED, produce_id="job_00"))
    mark_file(path, PROVENANCE)
    assert told(read_origin(path))
    assert path.read_bytes().count(b"job_01") in {1, 2}  # in XMP, and in the PNG's own chunk
    if not name.endswith(".tif"):  # a TIFF's earlier packet lies where nothing points to
        assert b"job_00" not in path.read_bytes()


@pytest.mark.parametrize("name", PICTURES)
def test_other_readers_find_the_packet(picture, name):
    path = picture(name, facts=False)
    mark_file(path, PROVENANCE)
    with Image.open(path) as image:
        image.load()
        if name.endswith(".png"):
            assert json.loads(image.text["AIGC"])["ProduceID"] == "job_01"
        packet = image.info.get("xmp") or image.tag_v2[700]
    text = packet if isinstance(packet, str) else bytes(packet).decode()
    assert f"<Iptc4xmpExt:DigitalSourceType>{TERM}<" in text
    assert re.search(r"<TC260:AIGC>\{.*Studio &lt;1&gt;", text)


EARLIER = b"""<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<r:Description r:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" dc:format="image/png"
 xmlns:ext="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 ext:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture">
<dc:rights>all of mine</dc:rights></r:Description></r:RDF></x:xmpmeta><?xpacket end="w"?>"""


@pytest.mark.parametrize("name", ["plain.png", "plain.jpg", "lossy.webp", "plain.tif"])
def test_what_a_packet_said_before_stays_but_for_the_source_type(picture, name):
    path = picture(name, xmp=EARLIER) if name != "plain.png" else picture(name)
    if name == "plain.png":
        from PIL.PngImagePlugin import PngInfo

        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", EARLIER.decode())
        Image.open(path).save(path, pnginfo=info)
    if name == "plain.tif":
        Image.open(path).save(path, tiffinfo={700: EARLIER})
    assert "digitalCapture" in (read_origin(path).digital_source_type or "")
    mark_file(path, PROVENANCE)
    assert told(read_origin(path))
    content = path.read_bytes()
    assert b"all of mine" in content
    if name != "plain.tif":
        assert b"digitalCapture" not in content


@pytest.mark.parametrize(
    "xmp",
    [b"no packet", b"<!DOCTYPE x [<!ENTITY a 'b'>]>" + EARLIER, EARLIER[:200], b"<a><b></a>"],
)
def test_a_packet_that_cannot_be_read_is_replaced(picture, xmp):
    path = picture("plain.jpg", xmp=xmp)
    mark_file(path, PROVENANCE)
    assert told(read_origin(path))


def test_a_packet_that_leaves_no_room_in_its_segment_gives_way(picture):
    path = picture("plain.jpg", xmp=EARLIER.replace(b"all of mine", b"x" * 64_500))
    mark_file(path, PROVENANCE)
    assert told(read_origin(path))
    Image.open(path).load()


CLIPS = (
    *("constant.mp4", "fast.mp4", "variable.mp4", "late.mp4", "turned.mp4", "fragmented.mp4"),
    *("camera.mov", "copy.mkv", "subtitled.mkv", "odd.webm", "hidden.webm"),
)


def streams(make, path: Path) -> bytes:
    """Every packet with its times and checksum, read by ffmpeg."""
    return make("-i", str(path), "-map", "0", "-c", "copy", "-copyts", "-f", "framecrc", "-")


@pytest.mark.parametrize("name", CLIPS)
def test_a_marked_video_has_the_same_packets_at_the_same_times(clip, make, tmp_path, name):
    path = tmp_path / name
    path.write_bytes(clip(name).read_bytes())
    before = streams(make, path)
    probed = probe(path, MediaLimits())
    mark_file(path, PROVENANCE)
    assert streams(make, path) == before
    after = probe(path, MediaLimits())
    assert (after.frames, after.duration_s, after.fps) == (
        probed.frames,
        probed.duration_s,
        probed.fps,
    )
    assert told(read_origin(path))


@pytest.mark.parametrize("name", [name for name in CLIPS if name != "fragmented.mp4"])
def test_ffmpeg_reads_the_mark_of_a_video(clip, make, tmp_path, name):
    path = tmp_path / name
    path.write_bytes(clip(name).read_bytes())
    mark_file(path, PROVENANCE)
    listed = make("-i", str(path), "-f", "ffmetadata", "-").decode()
    line = next(line for line in listed.splitlines() if line.startswith("AIGC="))
    assert json.loads(line.removeprefix("AIGC=").replace("\\", ""))["ProduceID"] == "job_01"
    if path.suffix in {".mkv", ".webm"}:
        assert f"DIGITAL_SOURCE_TYPE={TERM}" in listed.replace("\\", "")


@pytest.mark.parametrize("name", ["constant.mp4", "fast.mp4", "camera.mov", "copy.mkv"])
def test_a_video_marked_again_says_the_last_and_keeps_its_packets(clip, make, tmp_path, name):
    path = tmp_path / name
    path.write_bytes(clip(name).read_bytes())
    before = streams(make, path)
    mark_file(path, Provenance(SourceType.GENERATED, produce_id="job_00"))
    mark_file(path, PROVENANCE)
    assert streams(make, path) == before
    assert told(read_origin(path))


def test_a_kind_of_file_without_a_place_for_it_is_refused(tmp_path):
    path = tmp_path / "a.bmp"
    Image.new("RGB", (4, 4)).save(path)
    with pytest.raises(EngineFaultError, match="PNG, JPEG") as refused:
        mark_file(path, PROVENANCE)
    assert refused.value.code == "output_unmarkable"
    with pytest.raises(InvalidInputError) as unread:
        read_origin(path)
    assert unread.value.code == "unsupported_media"


def test_hostile_files_are_read_or_refused_but_never_crash(tmp_path, test_media):
    for path in sorted((test_media / "hostile").iterdir()):
        try:
            origin = read_origin(path)
        except InvalidInputError:
            continue
        assert origin.aigc is None, path


@pytest.mark.parametrize("name", ["plain.png", "plain.jpg", "lossy.webp", "plain.tif"])
def test_reading_a_marked_file_that_is_cut_anywhere_never_crashes(picture, tmp_path, name):
    path = picture(name)
    mark_file(path, PROVENANCE)
    content, cut = path.read_bytes(), tmp_path / "cut"
    for length in range(12, len(content), max(1, len(content) // 200)):
        cut.write_bytes(content[:length])
        try:
            read_origin(cut)
        except InvalidInputError:
            continue
