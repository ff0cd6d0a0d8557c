"""Light of the full-size picture and colour said small become one picture, strip by strip."""

from collections.abc import Callable

from engines.colorize.chroma import lightness, to_lit_samples, to_samples, unit
from engines.colorize.params import Chroma
from engines.colorize.shrink import strips
from engines.colorize.spread import Spread
from engines.media.rows import Rows, SinkRows


def lay(
    rows: Rows, colour: Spread, into: SinkRows, *, manner: Chroma, pause: Callable[[], None]
) -> None:
    """Write the picture in colour: the lightness of ``rows``, the colours of ``colour``.

    Args:
        rows: the picture, whose lightness is kept.
        colour: made for the size of ``rows``.
        into: gets as many BGR rows of as many bits.
        manner: ``reference`` takes a colour that does not exist at a lightness as it comes out;
            the others tone it down until the lightness is kept.
        pause: called before each strip; may raise to stop.
    """
    finish = to_samples if manner is Chroma.REFERENCE else to_lit_samples
    for top, count in strips(rows.height, rows.width):
        pause()
        light = lightness(unit(rows.read(top, count)))
        into.append(finish(light, colour.rows(light, top), into.dtype))
