"""Pictures streamed: every sample, bit, profile and tag comes back."""

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, TiffImagePlugin

from engines.errors import InvalidInputError
from engines.media import rows as rows_module
from engines.media.limits import MediaLimits
from engines.media.rows import FileRows
from engines.media.scans import open_scan, save_scan, suffix_of_result

ORIENTATION, ARTIST, TAKEN, DESCRIPTION, EXIF = 0x0112, 0x013B, 0x9003, 0x010E, 0x8769


@pytest.fixture
def passed(tmp_path):
    """A file through ``open_scan`` and ``save_scan``: the scan and the written file."""

    def go(path):
        scan = open_scan(path, tmp_path, limits=MediaLimits())
        out = tmp_path / f"out{suffix_of_result(scan)}"
        save_scan(scan, scan.rows, out, alpha=scan.alpha)
        return scan, out

    return go


def read(path, depth):
    with Image.open(path) as picture:
        if (
            picture.mode == "RGBA" and depth == np.uint8
        ):  # which OpenCV multiplies by its alpha, when it is a TIFF
            return np.asarray(picture)[..., [2, 1, 0, 3]]
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


@pytest.mark.parametrize("in_files", [False, True])
@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_every_sample_comes_back(in_files, name, channels, depth, request):
    tmp_path, passed = (request.getfixturevalue(each) for each in ("tmp_path", "passed"))
    monkeypatch = request.getfixturevalue("monkeypatch")
    if in_files:
        monkeypatch.setattr(rows_module, "IN_MEMORY_BYTES", 0)
        monkeypatch.setattr("engines.media.scans.IN_MEMORY_BYTES", 0)
    top = np.iinfo(depth).max
    pixels = np.random.default_rng(1).integers(0, top, (61, 43, channels), dtype=depth)
    path = tmp_path / name
    assert cv2.imwrite(str(path), pixels)
    scan, out = passed(path)
    assert isinstance(scan.rows, FileRows) is in_files
    assert (scan.rows.dtype, scan.rows.channels) == (depth, min(channels, 3))
    assert (scan.alpha is not None) is (channels == 4)
    assert scan.is_grey is (channels == 1)
    back = read(out, depth)
    assert (back.reshape(pixels.shape) == pixels).all()


def test_tags_stay_and_the_picture_is_upright(astronaut, tmp_path, passed):
    picture = Image.fromarray(astronaut[:120, :200, ::-1])
    exif = picture.getexif()
    exif[ORIENTATION], exif[ARTIST], exif[DESCRIPTION] = 6, "somebody", "an old photograph"
    exif.get_ifd(EXIF)[TAKEN] = "1936:03:05 10:00:00"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for name in ("a.jpg", "a.png", "a.webp"):
        path = tmp_path / name
        picture.save(path, exif=exif, icc_profile=profile)
        scan, out = passed(path)
        assert (scan.rows.height, scan.rows.width) == (200, 120)
        with Image.open(out) as written:
            tags = written.getexif()
            assert written.size == (120, 200), name
            assert tags.get(ORIENTATION, 1) == 1
            assert (tags[ARTIST], tags[DESCRIPTION]) == ("somebody", "an old photograph")
            assert tags.get_ifd(EXIF)[TAKEN] == "1936:03:05 10:00:00"
            assert written.info["icc_profile"] == profile


def test_a_tiff_keeps_its_tags_its_exif_and_its_pixels(tmp_path, passed):
    pixels = np.random.default_rng(4).integers(0, 65535, (700, 500), dtype=np.uint16)
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    directory[ARTIST], directory[DESCRIPTION] = "somebody", "a scan"
    directory[EXIF] = {TAKEN: "1936:03:05 10:00:00"}
    path = tmp_path / "a.tif"
    Image.fromarray(pixels).save(path, tiffinfo=directory)
    _, out = passed(path)
    with Image.open(out) as written:
        tags = written.getexif()
        assert (tags[ARTIST], tags[DESCRIPTION]) == ("somebody", "a scan")
        assert tags.get_ifd(EXIF)[TAKEN] == "1936:03:05 10:00:00"
        assert (np.asarray(written) == pixels).all()
    assert (cv2.imread(str(out), cv2.IMREAD_UNCHANGED) == pixels).all()


def test_fax_palette_and_cmyk_become_grey_and_colour(tmp_path, passed, astronaut):
    small = Image.fromarray(astronaut[:64, :64, ::-1])
    for name, picture, channels in (
        ("fax.tif", small.convert("1"), 1),
        ("palette.png", small.quantize(16), 3),
        ("print.jpg", small.convert("CMYK"), 3),
    ):
        path = tmp_path / name
        picture.save(path)
        scan, out = passed(path)
        assert scan.rows.channels == channels, name
        with Image.open(out) as written:
            there = np.asarray(written.convert("L"), int)
        assert (
            np.abs(there - np.asarray(picture.convert("L"), int)).mean() < 40
        )  # CMYK without a profile is a matter of taste


def test_a_picture_over_the_limit_is_refused_by_its_header(tmp_path):
    path = tmp_path / "large.png"
    Image.new("L", (300, 200)).save(path)
    limits = MediaLimits(max_image_pixels=10_000)
    with pytest.raises(InvalidInputError) as refused:
        open_scan(path, tmp_path, limits=limits)
    assert refused.value.code == "image_too_large"
    scans = MediaLimits(max_image_pixels=10_000, max_scan_pixels=60_000)
    assert open_scan(path, tmp_path, limits=scans).rows.width == 300


def test_pixels_that_are_no_samples_are_refused(tmp_path):
    path = tmp_path / "float.tif"
    Image.fromarray(np.zeros((8, 8), np.float32)).save(path)
    with pytest.raises(InvalidInputError) as refused:
        open_scan(path, tmp_path, limits=MediaLimits())
    assert refused.value.code == "unsupported_pixels"
