import pytest

from engines.errors import InvalidInputError
from engines.media.limits import MediaLimits
from engines.media.probe import probe
from engines.spec import MediaKind

LIMITS = MediaLimits()

# What becomes of each hostile file: its type where it is taken, else the code it is refused with.
HOSTILE = {
    "animated.webp": "image/webp",
    "animated_faces.gif": "image/gif",
    "avif_alpha_noispe.avif": "unsupported_media",
    "avif_arc_triomphe_extent1000_nullbyte_extent1310.avif": "unsupported_media",
    "avif_paris_exif_orientation_5.jpg": "image/jpeg",
    "avif_poc_b_506387278.avif": "unsupported_media",
    "bomb_header_2g.png": "image_too_large",
    "cmyk_face.jpg": "image/jpeg",
    "empty.jpg": "empty_file",
    "empty.mp4": "empty_file",
    "flat_black.png": "image/png",
    "fps_1000.mp4": "video_too_many_fps",
    "hls_playlist.mp4": "unsupported_media",
    "html_as.jpg": "unsupported_media",
    "long_1h_black.mp4": "video_too_long",
    "moviepy_no_duration.webm": "video/webm",
    "moviepy_video_with_failing_audio.mp4": "video/mp4",
    "mp4_alpha_video_moov_is_moop.avif": "unsupported_media",
    "mp4_bitflips.mp4": "video/mp4",
    "mp4_bug-1655846.avif": "unsupported_media",
    "mp4_chunk_out_of_range.mp4": "media_unreadable",
    "mp4_clusterfuzz-testcase-minimized-avif-4914209301856256.avif": "unsupported_media",
    "mp4_invalid_userdata.mp4": "video_truncated",
    "mp4_minimal.mp4": "video/mp4",
    "mp4_no_timescale.mp4": "video/mp4",
    "mp4_short-cenc.mp4": "video_encrypted",
    "mp4_truncated_no_moov.mp4": "video_truncated",
    "mp4_video_colr_nclx_hdr10.mp4": "video/mp4",
    "mp4_zero_empty_stsc.mp4": "video_truncated",
    "multipage.tif": "image/tiff",
    "one_frame.mp4": "video/mp4",
    "one_pixel.png": "image/png",
    "orient_2.jpg": "image/jpeg",
    "orient_3.jpg": "image/jpeg",
    "orient_5.jpg": "image/jpeg",
    "orient_6.jpg": "image/jpeg",
    "orient_8.jpg": "image/jpeg",
    "palette_trns.png": "image/png",
    "pillow_badpalettesize.bmp": "media_unreadable",
    "pillow_badrle.bmp": "image/bmp",
    "pillow_broken.png": "media_unreadable",
    "pillow_broken_data_stream.png": "image_truncated",
    "pillow_child_ifd_jpeg.tiff": "image/tiff",
    "pillow_chunk_no_fdat.png": "media_unreadable",
    "pillow_crash-2020-10-test.tif": "media_unreadable",
    "pillow_crash-465703f71a0f0094873a3e0e82c9f798161171b8.sgi": "unsupported_media",
    "pillow_crash-5762152299364352.fli": "unsupported_media",
    "pillow_crash-86214e58da443d2b80820cff9677a38a33dcbbca.tif": "media_unreadable",
    "pillow_decompression_bomb.gif": "image_too_large",
    "pillow_decompression_bomb.ico": "unsupported_media",
    "pillow_duplicate_xref_entry.pdf": "unsupported_media",
    "pillow_empty_gps_ifd.jpg": "image/jpeg",
    "pillow_exif_gps_typeerror.jpg": "image/jpeg",
    "pillow_fli_overflow.fli": "unsupported_media",
    "pillow_hopper_bad_exif.jpg": "image/jpeg",
    "pillow_hopper_idat_after_image_end.png": "image/png",
    "pillow_hopper_orientation_6.jpg": "image/jpeg",
    "pillow_hopper_orientation_8.webp": "image/webp",
    "pillow_invalid-exif-without-x-resolution.jpg": "image/jpeg",
    "pillow_invalid-exif.jpg": "image/jpeg",
    "pillow_missing_background.gif": "image/gif",
    "pillow_multiple_exif.jpg": "image/jpeg",
    "pillow_pil123p.png": "image/png",
    "pillow_pil_sample_cmyk.jpg": "image/jpeg",
    "pillow_sugarshack_bad_mpo_header.jpg": "image/jpeg",
    "pillow_syntax_num_frames_invalid.png": "image/png",
    "pillow_timeout-1ee28a249896e05b83840ae8140622de8e648ba9.psd": "unsupported_media",
    "pillow_timeout-6646305047838720": "image_truncated",
    "pillow_truncated_image.png": "image_truncated",
    "pillow_truncated_jpeg.jpg": "image_truncated",
    "pillow_unbound_variable.jp2": "unsupported_media",
    "pillow_zero_dpi.jp2": "unsupported_media",
    "pillow_zero_width.gif": "media_unreadable",
    "polyglot_jpg_zip.jpg": "trailing_data",
    "size_change.ts": "video_size_changes",
    "skimage_truncated.jpg": "image_truncated",
    "svg_external.svg": "unsupported_media",
    "trunc_half.jpg": "image_truncated",
    "txt_as.mp4": "unsupported_media",
    "vips_17000x17000.avif": "unsupported_media",
    "vips_cd1.1.jpg": "image/jpeg",
    "vips_invalid_multiframe.gif": "image_truncated",
    "vips_looks-like-svg.webp": "image/webp",
    "vips_truncated.gif": "image_truncated",
    "vips_truncated.svgz": "unsupported_media",
}


def outcome_of(path):
    try:
        return probe(path, LIMITS).media_type
    except InvalidInputError as error:
        return error.code


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_has_its_expected_outcome(test_media, name):
    assert outcome_of(test_media / "hostile" / name) == HOSTILE[name]


def test_the_table_knows_every_hostile_file(test_media):
    assert {path.name for path in (test_media / "hostile").iterdir()} == set(HOSTILE)


def test_upright_sizes_are_reported(test_media):
    for name in ("orient_2.jpg", "orient_3.jpg", "orient_5.jpg", "orient_6.jpg", "orient_8.jpg"):
        info = probe(test_media / "hostile" / name, LIMITS)
        assert (info.width, info.height) == (216, 200), name


def test_a_photo_is_told_by_its_content_not_its_name(tmp_path, photo):
    path = tmp_path / "clip.mp4"
    path.write_bytes(photo.read_bytes())
    info = probe(path, LIMITS)
    assert (info.kind, info.media_type) == (MediaKind.IMAGE, "image/png")
    assert (info.width, info.height, info.bytes) == (512, 512, photo.stat().st_size)


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"", "empty_file"), (b"words", "unsupported_media"), (b"<svg/>", "unsupported_media")],
)
def test_what_is_no_media_is_refused(tmp_path, content, code):
    path = tmp_path / "picture.png"
    path.write_bytes(content)
    with pytest.raises(InvalidInputError) as refused:
        probe(path, LIMITS)
    assert refused.value.code == code
