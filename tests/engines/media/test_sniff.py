import pytest

from engines.media.sniff import refused_kind, sniff


@pytest.mark.parametrize(
    ("first", "media_type"),
    [
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"GIF89a", "image/gif"),
        (b"II*\x00", "image/tiff"),
        (b"MM\x00*", "image/tiff"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"BM\x36\x00\x00\x00\x00\x00\x00\x00", "image/bmp"),
        (b"\x00\x00\x00\x20ftypisom", "video/mp4"),
        (b"\x00\x00\x00\x14ftypqt  ", "video/quicktime"),
        (b"\x1a\x45\xdf\xa3\x01\x42\x82\x84webm", "video/webm"),
        (b"RIFF\x00\x00\x00\x00AVI LIST", "video/x-msvideo"),
    ],
)
def test_accepted_files_are_known_by_their_first_bytes(first, media_type):
    assert sniff(first + bytes(100)) == media_type


@pytest.mark.parametrize(
    ("first", "kind"),
    [
        (b"<?xml version='1.0'?><svg xmlns=''>", "SVG"),
        (b"#EXTM3U\nfile:///etc/passwd", "HLS"),
        (b"<?xml?><MPD><BaseURL>", "DASH"),
        (b"ffconcat version 1.0", "concat"),
        (b"<!DOCTYPE html><p>", "HTML"),
        (b"%PDF-1.7", "PDF"),
        (b"\x00\x00\x00\x1cftypavif", "AVIF"),
        (b"\x00\x00\x00\x18ftypheic", "HEIC"),
        (b"\x00\x00\x00\x18ftypheim", "HEIC"),
        (b"\x00\x00\x00\x18ftypmiaf", "AVIF"),
        (b"\x00\x00\x00\x0cjP  \r\n", "JPEG 2000"),
        (b"PK\x03\x04", "ZIP"),
        (b"BMP is a word", "neither"),
        (b"\x00" * 64, "neither"),
    ],
)
def test_refused_files_are_named_to_the_caller(first, kind):
    assert sniff(first) is None
    assert kind in refused_kind(first)
