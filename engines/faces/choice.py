"""Which detector looks for faces on this machine: the best whose file is here, else Haar."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from engines.errors import InvalidInputError
from engines.faces.detectors.haar import HaarFaces
from engines.faces.detectors.refined import Refined
from engines.faces.detectors.scrfd import Scrfd
from engines.faces.detectors.turned import TurnedPasses
from engines.faces.detectors.yunet import SIZE as YUNET_SIZE
from engines.faces.detectors.yunet import YuNet
from engines.faces.face import FaceDetector
from engines.faces.nets.landmarks import LandmarkNetwork
from engines.loading import load_extra
from engines.manifest import ModelVersion
from engines.registry import Services
from engines.runners.base import Runner
from engines.sessions import Loaded

YUNET_FILE = "face_detection_yunet_2023mar.onnx"
YUNET_NAME = "yunet@2023mar"
# The best first; operators bring them.
SCRFD_FILES = {"det_10g.onnx": "scrfd-10g@1", "scrfd_2.5g_bnkps.onnx": "scrfd-2.5g@1"}
LANDMARKS_FILE = "2dfan4.onnx"


class DetectorName(StrEnum):
    """What looks for faces."""

    AUTO = "auto"  # the first of the others that is on this machine
    SCRFD = "scrfd"  # finds turned and partly hidden faces best
    YUNET = "yunet"  # small and fast
    HAAR = "haar"  # upright, frontal faces only; needs no file


@dataclass(frozen=True, slots=True)
class Search:
    """How faces are looked for; None: as the detector was made for."""

    detector: DetectorName = DetectorName.AUTO
    size: int | None = None  # side of the square that pictures are fitted into, pixels
    score: float | None = None  # what counts as a face, 0..1
    angles: tuple[int, ...] = (0,)  # quarter turns in which the picture is looked at
    refines: bool = False  # with sixty-eight points


def open_detector(
    search: Search,
    *,
    find: Callable[[str], Runner | None],
    need: Callable[[str], Runner],
    haar: Callable[[], FaceDetector],
) -> FaceDetector:
    """What looks for faces, by what is wanted and what is here.

    Args:
        search: what is wanted.
        find: opens the network of a file; None where it is not on this machine.
        need: the same, but says which file is missing and how to get it.
        haar: gives the cascades.

    Raises:
        WeightsError: code ``weights_missing``: what was asked for is not here.
        InvalidInputError: code ``img_size_unsupported`` or ``option_unsupported``.
    """
    detector = _upright(search, find, need, haar)
    if search.angles != (0,):
        detector = TurnedPasses(detector, search.angles)
    return Refined(detector, LandmarkNetwork(need(LANDMARKS_FILE))) if search.refines else detector


def _upright(
    search: Search,
    find: Callable[[str], Runner | None],
    need: Callable[[str], Runner],
    haar: Callable[[], FaceDetector],
) -> FaceDetector:
    wants, told = search.detector, _told(search)
    if wants in {DetectorName.AUTO, DetectorName.SCRFD}:
        for file, name in SCRFD_FILES.items():
            if (runner := find(file)) is not None:
                return _scrfd(runner, name + told, search)
    if wants is DetectorName.SCRFD:
        return _scrfd(need(next(iter(SCRFD_FILES))), next(iter(SCRFD_FILES.values())), search)
    if wants is not DetectorName.HAAR:
        runner = find(YUNET_FILE) if wants is DetectorName.AUTO else need(YUNET_FILE)
        if runner is not None:
            return _yunet(runner, YUNET_NAME + told, search)
    if search.size is not None or search.score is not None:
        message = "OpenCV's cascades look for faces here: leave size and score out, they have none"
        raise InvalidInputError(message, code="option_unsupported")
    return haar()


def _scrfd(runner: Runner, name: str, search: Search) -> Scrfd:
    sizes = None if search.size is None else [(search.size, search.size)]
    if search.score is None:
        return Scrfd(runner, name=name, sizes=sizes)
    return Scrfd(runner, name=name, sizes=sizes, score_min=search.score)


def _yunet(runner: Runner, name: str, search: Search) -> YuNet:
    size = YUNET_SIZE if search.size is None else (search.size, search.size)
    if search.score is None:
        return YuNet(runner, name=name, size=size)
    return YuNet(runner, name=name, size=size, score_min=search.score)


def _told(search: Search) -> str:
    """What differs from the detector's own way: other faces may be found, so its name says it."""
    parts = [
        *([f"size={search.size}"] if search.size is not None else []),
        *([f"score={search.score:g}"] if search.score is not None else []),
    ]
    return f"/{','.join(parts)}" if parts else ""


def face_detector(services: Services, model: ModelVersion) -> Loaded[FaceDetector]:
    """Return the detector for a model that declares YuNet's file among its ``extras``.

    Raises:
        WeightsError: code ``weights_corrupt``: the file is here, but is not what was registered.
    """
    runner = load_extra(services, model, YUNET_FILE)
    if runner is None:
        return services.sessions.load(("faces", HaarFaces.name), HaarFaces)
    detector: FaceDetector = YuNet(runner.value, name=YUNET_NAME)
    return Loaded(value=detector, cold_start_ms=runner.cold_start_ms)
