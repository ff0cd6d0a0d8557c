"""The visible label: high enough, there for as long as the law says, and nothing else changed."""

import numpy as np
import pytest
from pydantic import BaseModel, ValidationError

from engines.errors import InvalidInputError
from engines.media.images import Picture
from engines.media.index import index_video
from engines.media.label import (
    DEFAULT_TEXT,
    HEIGHT_SHARE,
    Label,
    VisibleLabel,
    check_label,
    label_frames,
    label_picture,
    label_rows,
)
from engines.media.limits import MediaLimits
from engines.media.rows import ArrayRows, FileRows
from engines.media.video import read_frames, transform_video


class Params(BaseModel):
    label: VisibleLabel = None


@pytest.mark.parametrize(
    ("given", "text"),
    [(True, DEFAULT_TEXT), (False, None), (None, None), (" Made by AI ", "Made by AI")],
)
def test_true_is_the_usual_text_and_false_is_none(given, text):
    assert Params(label=given).label == text
    assert Params.model_validate(Params(label=given).model_dump()).label == text


@pytest.mark.parametrize(
    "given", ["", "  ", "x" * 41, 1, 1.5, ["a"], "caf\u00e9", "a\nb", "\u751f\u6210"]
)
def test_what_is_no_text_of_the_font_is_refused(given):
    with pytest.raises(ValidationError, match="must be"):
        Params(label=given)


def letter_height(pixels: np.ndarray) -> int:
    """Rows of the brightest text on black."""
    return int((pixels.max(axis=(1, 2)) > 200).sum())


@pytest.mark.parametrize("size", [(1080, 1920), (1920, 1080), (512, 512), (100, 4000), (333, 777)])
def test_a_capital_is_at_least_a_twentieth_of_the_shorter_side(size):
    black = np.zeros((*size, 3), dtype=np.uint8)
    labelled = Label("AI", size[1], size[0]).on(black)
    assert letter_height(labelled) >= HEIGHT_SHARE * min(size)
    assert letter_height(labelled) <= 0.08 * min(size) + 3
    assert not black.any()


@pytest.mark.parametrize("text", [DEFAULT_TEXT, "W" * 40, "made by a machine and by nobody else"])
@pytest.mark.parametrize("size", [(40, 60), (600, 80), (480, 640), (1, 1), (9, 400)])
def test_every_text_fits_every_picture(text, size):
    grey = np.full((*size, 3), 128, dtype=np.uint8)
    label = Label(text, size[1], size[0])
    labelled = label.on(grey)
    assert labelled.shape == grey.shape
    outside = np.ones(size, dtype=bool)
    outside[label.top :, label.left :] = False
    assert (labelled[outside] == 128).all()
    assert (labelled != 128).any()


def test_nothing_transparent_hides_it():
    picture = Picture(
        pixels=np.zeros((200, 200, 3), dtype=np.uint8), alpha=np.zeros((200, 200), dtype=np.uint8)
    )
    labelled = label_picture(picture, "AI")
    assert (labelled.alpha[-5:, -5:] == 255).all()
    assert not picture.alpha.any()
    assert label_picture(picture, None) is picture


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
@pytest.mark.parametrize("in_file", [False, True])
def test_rows_get_the_same_label_in_memory_and_in_a_file(tmp_path, depth, in_file):
    top = np.iinfo(depth).max
    pixels = np.random.default_rng(2).integers(0, top, (120, 300, 3), dtype=depth)
    rows, alpha = ArrayRows(pixels.copy()), ArrayRows(np.zeros((120, 300, 1), dtype=depth))
    if in_file:
        rows = FileRows(tmp_path / "rows.raw", 120, 300, 3, np.dtype(depth))
        rows.append(pixels)
    label_rows(rows, DEFAULT_TEXT, alpha=alpha)
    label = Label(DEFAULT_TEXT, 300, 120)
    wanted = pixels.copy()
    wanted[label.top :, label.left :] = label.over(pixels[label.top :, label.left :])
    assert (rows.read(0, 120) == wanted).all()
    assert (alpha.pixels[label.top :, label.left :] == top).all()
    assert not alpha.pixels[: label.top].any()


class Watched:
    def checkpoint(self):
        """Nobody stops it."""

    def progress(self, *_):
        """Nobody asks."""


@pytest.mark.parametrize("name", ["late.mp4", "short.mp4", "long.mp4"])
def test_a_video_shows_it_for_two_seconds_and_then_no_more(clip, make, tmp_path, name):
    source, result = tmp_path / name, tmp_path / "labelled.mp4"
    if name == "late.mp4":
        source = clip(name)
    else:
        picture = f"testsrc=s=192x108:r=10:d={1 if name == 'short.mp4' else 3}"
        make("-f", "lavfi", "-i", picture, str(source))
    index = index_video(source, MediaLimits())
    process = label_frames(list, "AI", index)
    transform_video(source, result, index=index, process=process, batch=4, context=Watched())
    label = Label("AI", index.width, index.height)
    place = np.s_[label.top :, label.left :]
    begin_s = float(index.pts[0] * index.time_base)
    written = read_frames(result, index_video(result, MediaLimits()))
    for before, after in zip(read_frames(source, index), written, strict=True):
        plain, found = before.pixels[place].astype(int), after.pixels[place].astype(int)
        wanted = label.on(before.pixels)[place].astype(int)
        is_there = np.abs(found - wanted).mean() < np.abs(found - plain).mean()
        assert is_there == (before.pts_s - begin_s < 2.0), before.pts_s


def test_where_no_picture_is_given_back_a_label_is_refused():
    check_label(None, gives_picture=False)
    check_label("AI", gives_picture=True)
    with pytest.raises(InvalidInputError) as refused:
        check_label("AI", gives_picture=False)
    assert refused.value.code == "option_unsupported"
