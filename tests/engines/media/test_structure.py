import io
import zipfile

import pytest
from PIL import Image

from engines.errors import InvalidInputError
from engines.media.structure import check_structure

TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "GIF": "image/gif"}
OPEN_ENDED = {"BMP": "image/bmp", "TIFF": "image/tiff"}


def encoded(kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.radial_gradient("L").convert("RGB").save(stream, kind, **options)
    return stream.getvalue()


def archive() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("../../x", "payload")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True, "exif": b"Exif\0\0" + bytes(400)}),
        ("JPEG", {"restart_marker_rows": 1}),
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"quality": 31}),
        ("GIF", {}),
        ("BMP", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
    ],
)
def test_whole_pictures_pass_with_and_without_padding(kind, options):
    media_type = {**TYPES, **OPEN_ENDED}[kind]
    check_structure(encoded(kind, **options), media_type)
    check_structure(encoded(kind, **options) + b"\0\0\n", media_type)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_cut_pictures_are_called_truncated(kind, share):
    data = encoded(kind)
    cut = data[: max(int(len(data) * share), 16)]
    with pytest.raises(InvalidInputError) as refused:
        check_structure(cut, TYPES[kind])
    assert refused.value.code == "image_truncated"


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize(
    "tail", [b"<?php system($_GET[0]); ?>", b"<script>", b"MZ\x90", bytes(5000) + b"x"]
)
def test_foreign_bytes_behind_the_end_are_refused(kind, tail):
    with pytest.raises(InvalidInputError) as refused:
        check_structure(encoded(kind) + tail, TYPES[kind])
    assert refused.value.code == "trailing_data"


@pytest.mark.parametrize("kind", [*TYPES, *OPEN_ENDED])
def test_an_archive_behind_any_picture_is_refused(kind):
    with pytest.raises(InvalidInputError) as refused:
        check_structure(encoded(kind) + archive(), {**TYPES, **OPEN_ENDED}[kind])
    assert refused.value.code == "trailing_data"


def test_what_phones_write_behind_a_jpeg_passes():
    picture = encoded("JPEG")
    motion = b"\x00\x00\x00\x18ftypmp42" + bytes(100)
    check_structure(picture + picture, "image/jpeg")  # preview or depth map
    check_structure(picture + motion, "image/jpeg")  # motion photo
    check_structure(picture + b"SEFH" + bytes(40) + b"SEFT", "image/jpeg")  # Samsung


def test_a_jpeg_behind_a_jpeg_does_not_hide_a_page():
    picture = encoded("JPEG")
    with pytest.raises(InvalidInputError):
        check_structure(picture + picture + b"<?php", "image/jpeg")


@pytest.mark.parametrize("kind", TYPES)
def test_no_prefix_and_no_flipped_byte_breaks_the_walk(kind):
    data = encoded(kind)
    for at in range(0, len(data), max(len(data) // 200, 1)):
        for broken in (data[:at], data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]):
            try:
                check_structure(broken, TYPES[kind])
            except InvalidInputError:
                continue
