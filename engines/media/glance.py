"""What a file is, by a look that is cheap for pictures: for files of one's own.

The platform probes what strangers send (``probe.py``): every pixel is decoded once before a run is
accepted. Here a picture's header is enough; the run itself finds what is wrong behind it.
"""

from pathlib import Path

from engines.media.images import describe_image
from engines.media.limits import MediaLimits
from engines.media.probe import probe
from engines.media.sniff import SNIFF_BYTES, sniff
from engines.spec import MediaInfo


def glance(path: Path, limits: MediaLimits) -> MediaInfo:
    """The facts of a picture by its header, of a video by probing it whole; raises as ``probe``."""
    with path.open("rb") as stream:
        kind = sniff(stream.read(SNIFF_BYTES))
    if kind is not None and kind.startswith("image/"):
        return describe_image(path, limits=limits)
    return probe(path, limits)
