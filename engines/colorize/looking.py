"""What a picture shows: faces and people, looked for in an overview of it."""

from dataclasses import dataclass
from threading import Lock

import numpy as np

from engines.colorize.params import Kind
from engines.colorize.shrink import Method, shrink
from engines.faces.choice import face_detector
from engines.faces.face import Face, FaceDetector
from engines.manifest import ModelVersion
from engines.media.rows import Rows
from engines.metering import StageClock
from engines.people.hog import HogPeople
from engines.registry import Services

OVERVIEW_PX = 1280  # longer side at which faces are looked for; those of 20 pixels are found


@dataclass(frozen=True, slots=True)
class Looked:
    """What was seen."""

    kind: Kind  # person or building
    faces: tuple[Face, ...]  # in pixels of the picture
    people: int | None  # None: nobody counted them
    detector: str | None  # None: nobody looked


class Looker:
    """Looks at pictures; safe to use from several threads, which take turns."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._turn = Lock()

    def look(self, model: ModelVersion, rows: Rows, kind: Kind, clock: StageClock) -> Looked:
        """Find faces unless the caller says it is a building; people where that decides."""
        if kind is Kind.BUILDING:
            return Looked(kind, (), people=None, detector=None)
        with self._turn:
            loaded = face_detector(self._services, model)
            clock.add_cold_start(loaded.cold_start_ms)
            with clock.stage("detect"):
                overview = _overview(rows)
                faces = _faces(loaded.value, overview, rows)
                people = None
                if kind is Kind.AUTO and not faces:
                    people = self._people().count(overview)
        if kind is Kind.AUTO:
            kind = Kind.PERSON if faces or people else Kind.BUILDING
        return Looked(kind, faces, people=people, detector=loaded.value.name)

    def _people(self) -> HogPeople:
        return self._services.sessions.load(("people", HogPeople.name), HogPeople).value


def _overview(rows: Rows) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    ratio = min(1.0, OVERVIEW_PX / max(rows.height, rows.width))
    height, width = max(1, round(rows.height * ratio)), max(1, round(rows.width * ratio))
    small = shrink(rows, height=height, width=width, method=Method.AREA)
    return np.rint(small * 255).astype(np.uint8)


def _faces(
    detector: FaceDetector,
    overview: np.ndarray[tuple[int, int, int], np.dtype[np.uint8]],
    rows: Rows,
) -> tuple[Face, ...]:
    x, y = rows.width / overview.shape[1], rows.height / overview.shape[0]
    return tuple(
        Face(
            box=(face.box[0] * x, face.box[1] * y, face.box[2] * x, face.box[3] * y),
            points=face.points * np.array([x, y]),
            score=face.score,
        )
        for face in detector.detect(overview)
    )
