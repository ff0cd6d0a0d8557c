"""Pictures as OpenCV decodes them, which is what the networks were trained on and compared with."""

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from engines.media.images import read_image


@pytest.fixture(scope="module")
def photograph(photo):
    with Image.open(photo) as image:
        return image.convert("RGB").resize((160, 120)).crop((0, 0, 157, 113))


def by_opencv(path):
    return cv2.imread(str(path), cv2.IMREAD_COLOR)


def furthest(path):
    ours, theirs = read_image(path).pixels.astype(int), by_opencv(path).astype(int)
    assert ours.shape == theirs.shape
    return np.abs(ours - theirs).max()


@pytest.mark.parametrize(
    ("suffix", "mode", "options"),
    [
        ("png", "RGB", {}),
        ("png", "RGBA", {}),
        ("png", "L", {}),
        ("png", "LA", {}),
        ("png", "P", {}),
        ("png", "1", {}),
        ("jpg", "RGB", {"quality": 90}),
        ("jpg", "RGB", {"quality": 90, "subsampling": 2}),
        ("jpg", "RGB", {"quality": 80, "progressive": True}),
        ("jpg", "L", {}),
        ("bmp", "RGB", {}),
        ("webp", "RGB", {"lossless": True}),
        ("tif", "RGB", {}),
        ("tif", "L", {}),
    ],
)
def test_every_pixel_is_that_of_the_reference_decoder(
    save_image, photograph, suffix, mode, options
):
    path = save_image(photograph.convert(mode), f"photo.{suffix}", **options)
    assert furthest(path) == 0


@pytest.mark.parametrize("orientation", range(1, 9))
def test_rotation_is_that_of_the_reference_decoder(save_image, photograph, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert furthest(save_image(photograph, "turned.jpg", exif=exif, quality=95)) == 0


def test_sixteen_bits_become_the_nearest_of_eight(tmp_path, photograph):
    deep = np.asarray(photograph.convert("L")).astype(np.uint16) * 257 + 100
    path = tmp_path / "deep.png"
    cv2.imwrite(str(path), deep)
    ours = read_image(path).pixels[..., 0].astype(float)
    assert np.abs(ours - deep / 257).max() <= 0.5
    assert furthest(path) <= 1  # OpenCV cuts off what we round


def test_a_profile_changes_no_pixel_and_goes_with_the_picture(save_image, photograph):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = save_image(photograph, "tagged.png", icc_profile=profile)
    assert furthest(path) == 0
    assert read_image(path).icc == profile
