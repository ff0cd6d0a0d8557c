"""One picture of a video, turned into BGR when somebody looks at it."""

from engines.media.planes import Conversion, Pixels, Planes


class Frame:
    """One shown picture.

    Attributes:
        index: position in the video, from 0.
        pts: ticks of the index's time base.
        pts_s: seconds.
        lead_in: only to be looked at: it belongs to the part before this one.
        stored: the planes it came in, or BGR where the video has none.
        looked_at: whether anybody asked for ``pixels``.
    """

    __slots__ = (
        "_conversion",
        "_pixels",
        "index",
        "lead_in",
        "looked_at",
        "pts",
        "pts_s",
        "stored",
    )

    def __init__(
        self,
        index: int,
        pts: int,
        pts_s: float,
        stored: Pixels | Planes,
        *,
        conversion: Conversion | None = None,
        lead_in: bool = False,
    ) -> None:
        self.index, self.pts, self.pts_s = index, pts, pts_s
        self.stored, self.lead_in, self.looked_at = stored, lead_in, False
        self._conversion = conversion
        self._pixels: Pixels | None = None if conversion else stored

    @property
    def height(self) -> int:
        """Of the picture, pixels."""
        return len(self.stored) * 2 // 3 if self._conversion else len(self.stored)

    @property
    def width(self) -> int:
        """Of the picture, pixels."""
        return len(self.stored[0])

    @property
    def pixels(self) -> Pixels:
        """Height x width x 3, BGR, upright; converted once, when somebody looks."""
        self.looked_at = True
        self.prepare()
        assert self._pixels is not None  # noqa: S101 - prepared above
        return self._pixels

    def prepare(self) -> None:
        """Convert now, for whoever looks later."""
        if self._pixels is None and self._conversion is not None:
            self._pixels = self._conversion.bgr(self.stored)
