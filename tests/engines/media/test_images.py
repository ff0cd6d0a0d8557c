import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from engines.errors import EngineFaultError, InvalidInputError
from engines.media.images import (
    Picture,
    describe_image,
    output_type,
    probe_image,
    read_image,
    suffix_of,
    write_image,
)
from engines.media.limits import MediaLimits

LIMITS = MediaLimits()
WIDTH, HEIGHT = 48, 32
MARK = (200, 30, 60)  # red, green, blue of the top left quarter


def marked(mode="RGB"):
    """White, with a coloured quarter top left: every turn and channel swap shows."""
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    image.paste(MARK, (0, 0, WIDTH // 2, HEIGHT // 2))
    return image.convert(mode)


def header_png(width, height, *, depth=1):
    """A PNG whose header claims a size; its pixels compress to almost nothing."""

    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    row = bytes(1 + (width * depth + 7) // 8)
    packer = zlib.compressobj(9)
    pixels = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    end = chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + end


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_every_exif_orientation_becomes_upright(save_image, orientation, suffix):
    back = {5: 5, 6: 8, 7: 7, 8: 6}.get(orientation, orientation)
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    stored = marked() if orientation == 1 else marked().transpose(turns[back])
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save_image(stored, f"turned.{suffix}", exif=exif)
    picture = read_image(path)
    assert (picture.width, picture.height) == (WIDTH, HEIGHT)
    info = probe_image(path, limits=LIMITS)
    assert (info.width, info.height) == (WIDTH, HEIGHT)
    corner = picture.pixels[4, 4].astype(int)[::-1]
    assert np.abs(corner - MARK).max() < 25
    assert picture.pixels[-4, -4].min() > 230


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "CMYK", "YCbCr"])
def test_colours_survive_every_pixel_kind(save_image, mode):
    name = "colours.tif" if mode in {"CMYK", "YCbCr"} else "colours.png"
    image = marked().quantize(8) if mode == "P" else marked(mode)
    picture = read_image(save_image(image, name))
    assert np.abs(picture.pixels[4, 4].astype(int)[::-1] - MARK).max() < 8
    assert not picture.is_grey
    assert picture.alpha is None  # opaque everywhere is no alpha


@pytest.mark.parametrize("mode", ["L", "LA", "1", "I;16"])
def test_grey_pictures_become_grey_bgr_and_say_so(save_image, mode):
    ramp = np.linspace(0, 255, WIDTH, dtype=np.uint8)[None].repeat(HEIGHT, axis=0)
    if mode == "I;16":
        image = Image.fromarray(ramp.astype(np.uint16) * 257)
    else:
        image = Image.fromarray(ramp).convert(mode)
    picture = read_image(save_image(image, "grey.png"))
    assert picture.is_grey
    assert (picture.pixels[..., 0] == picture.pixels[..., 2]).all()
    if mode != "1":
        assert np.array_equal(picture.pixels[..., 0], ramp)


def test_a_cmyk_jpeg_is_not_inverted(save_image):
    path = save_image(marked("CMYK"), "print.jpg", quality=95)
    assert read_image(path).pixels[-4, -4].min() > 240


def test_a_cmyk_profile_is_applied_and_not_carried_over(save_image):
    broken = b"\0" * 16 + b"CMYK" + b"\0" * 108
    path = save_image(marked("CMYK"), "print.tif", icc_profile=broken)
    assert read_image(path).icc is None


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_kept_beside_the_pixels(save_image, mode):
    clear = Image.new("RGBA", (WIDTH, HEIGHT), (0, 0, 0, 0))
    clear.paste((*MARK, 255), (0, 0, WIDTH // 2, HEIGHT))
    picture = read_image(save_image(clear.convert(mode), "clear.png"))
    assert picture.alpha is not None
    assert picture.alpha[0, 0] == 255
    assert picture.alpha[0, -1] == 0


@pytest.mark.parametrize("media_type", ["image/png", "image/webp", "image/jpeg"])
def test_a_written_picture_has_its_pixels_profile_and_alpha_and_nothing_else(
    tmp_path, save_image, photo, media_type
):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x010F] = "camera"
    with Image.open(photo) as image:
        source = save_image(image, "in.png", icc_profile=srgb, exif=exif)
    alpha = np.full((512, 512), 128, dtype=np.uint8)
    read = read_image(source)
    picture = Picture(pixels=read.pixels, alpha=alpha, icc=read.icc)
    path = tmp_path / f"out{suffix_of(media_type)}"
    write_image(picture, path, media_type=media_type)
    again = read_image(path)
    assert again.icc == srgb
    with Image.open(path) as written:
        assert not written.getexif()
    assert again.media_type == media_type
    if media_type == "image/jpeg":
        assert again.alpha is None
        laid_on_white = read.pixels.astype(int) // 2 + 127
        assert np.abs(again.pixels - laid_on_white).mean() < 4
    else:
        assert np.array_equal(again.alpha, alpha)
        assert np.abs(again.pixels.astype(int) - read.pixels).mean() < 4


def test_png_is_lossless(tmp_path, photo):
    picture = read_image(photo)
    write_image(picture, tmp_path / "copy.png")
    assert np.array_equal(read_image(tmp_path / "copy.png").pixels, picture.pixels)


def test_results_keep_their_type_where_it_can_be_written():
    assert output_type("image/jpeg") == "image/jpeg"
    assert output_type("image/webp") == "image/webp"
    assert {output_type(f"image/{kind}") for kind in ("png", "tiff", "bmp", "gif")} == {"image/png"}


def test_other_types_are_not_written(tmp_path, photo):
    with pytest.raises(EngineFaultError, match="image/tiff"):
        write_image(read_image(photo), tmp_path / "x", media_type="image/tiff")


def test_a_bomb_is_refused_by_its_header(tmp_path):
    path = tmp_path / "bomb.png"
    path.write_bytes(header_png(30_000, 30_000))
    assert path.stat().st_size < 200_000
    for call in (lambda: probe_image(path, limits=LIMITS), lambda: read_image(path)):
        with pytest.raises(InvalidInputError) as refused:
            call()
        assert refused.value.code == "image_too_large"


@pytest.mark.parametrize(
    "limits",
    [
        MediaLimits(max_image_pixels=WIDTH * HEIGHT - 1),
        MediaLimits(max_image_side=WIDTH - 1),
        MediaLimits(max_image_bytes=10),
    ],
)
def test_each_limit_is_kept(save_image, limits):
    with pytest.raises(InvalidInputError) as refused:
        probe_image(save_image(marked(), "small.png"), limits=limits)
    assert refused.value.code == "image_too_large"


def test_a_picture_at_the_limit_passes(save_image):
    path = save_image(marked(), "small.png")
    limits = MediaLimits(max_image_pixels=WIDTH * HEIGHT, max_image_side=WIDTH)
    assert probe_image(path, limits=limits).width == WIDTH


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif"])
def test_several_frames_are_counted_refused_and_on_request_the_first_is_read(save_image, suffix):
    frames = [marked(), marked().rotate(180), marked().rotate(90)]
    exact = {"lossless": True} if suffix == "webp" else {}
    more = {"save_all": True, "append_images": frames[1:]}
    many = save_image(frames[0], f"many.{suffix}", **more, **exact)
    one = save_image(frames[0], f"one.{suffix}", **exact)
    for look in (probe_image, describe_image):
        assert (look(many, limits=LIMITS).frames, look(one, limits=LIMITS).frames) == (3, None)
        assert look(many, limits=LIMITS).width == WIDTH
    with pytest.raises(InvalidInputError, match="3 frames or pages") as refused:
        read_image(many)
    assert refused.value.code == "animated_image"
    first = read_image(many, first_frame=True).pixels
    assert np.array_equal(first, read_image(one).pixels)
    assert not np.array_equal(first, first[::-1, ::-1])


def test_further_pictures_of_a_photograph_do_not_count(save_image):
    path = save_image(
        marked(), "burst.jpg", format="MPO", save_all=True, append_images=[marked().rotate(180)]
    )
    assert probe_image(path, limits=LIMITS).frames is None
    assert read_image(path).width == WIDTH


def test_float_pixels_are_refused_with_the_way_out(save_image):
    path = save_image(Image.fromarray(np.zeros((4, 4), dtype=np.float32)), "float.tif")
    with pytest.raises(InvalidInputError, match="8-bit RGB") as refused:
        probe_image(path, limits=LIMITS)
    assert refused.value.code == "unsupported_pixels"


def test_corrupt_pixels_inside_a_whole_file_are_found_by_decoding(save_image, photo):
    with Image.open(photo) as image:
        path = save_image(image, "whole.png")
    data = bytearray(path.read_bytes())
    for at in range(len(data) // 2, len(data) // 2 + 400):
        data[at] ^= 0x5A
    path.write_bytes(data)
    with pytest.raises(InvalidInputError) as refused:
        probe_image(path, limits=LIMITS)
    assert refused.value.code in {"media_unreadable", "image_truncated"}
