"""The persons of a job: whose face is taken, and who is looked for in the target."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engines.face_swap.casting import Cast, Role
from engines.face_swap.params import Order
from engines.face_swap.selection import at_position, check_whole, no_face, source_face
from engines.face_swap.source import Shown, Source
from engines.face_swap.tools import Tools
from engines.faces.face import Face, Pixels
from engines.faces.geometry import UnusableFaceError
from engines.faces.nets.embedder import Embedder, Vector, average, unit
from engines.spec import RunContext


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a source face."""

    picture: int
    vector: Vector | None
    was_cached: bool
    shown: Shown | None


@dataclass(frozen=True, slots=True)
class People:
    """Finds the persons of one job in its source pictures.

    Args:
        paths: of input.source.
        read: decodes one of them to BGR.
        tools: what finds faces and tells them apart.
        context: of the run: vectors known from earlier jobs, and faces nobody may use.
    """

    paths: Sequence[Path]
    read: Callable[[Path], Pixels]
    tools: Tools
    context: RunContext

    def source(self, role: Role) -> Source:
        """The person of a role; pictures without a face do not count while one has a face.

        Raises:
            InvalidInputError: ``no_face_found``, ``several_source_faces``, ``no_such_face``,
                ``face_unusable`` or ``face_blocked``.
        """
        known: list[_Known] = []
        for number in role.sources:
            # one look is enough for whoever takes pixels alone
            if known and self.tools.embedder is None:
                break
            wants_pixels = self.tools.swapper.takes_pixels and not known
            face = self._face(number, role.source_face, wants_pixels=wants_pixels)
            known += [] if face is None else [face]
        if not known:
            raise no_face(_named(role.sources))
        vectors = [each.vector for each in known if each.vector is not None]
        return Source(
            pictures=tuple(each.picture for each in known),
            shown=known[0].shown,
            vector=average(np.stack(vectors)) if vectors else None,
            is_cached=all(each.was_cached for each in known),
        )

    def _face(self, number: int, position: int | None, *, wants_pixels: bool) -> _Known | None:
        """The source face of a picture; None: it shows none."""
        embedder = self.tools.embedder
        if embedder is None:
            self.context.blocked_faces.check_unseen()
        kept = None if embedder is None else self._kept(number, position, embedder)
        if kept is not None and not wants_pixels:
            return _Known(number, kept, was_cached=True, shown=None)
        pixels, faces = self._look(number)
        if not faces:
            return None
        where = _named([number])
        face = source_face(faces, position, where=where)
        check_whole(face, width=pixels.shape[1], height=pixels.shape[0], where=where)
        shown = Shown.cut(pixels, face, faces_found=len(faces)) if wants_pixels else None
        if kept is not None or embedder is None:
            return _Known(number, kept, was_cached=kept is not None, shown=shown)
        vector = self._embedded(number, position, pixels, face, embedder)
        return _Known(number, vector, was_cached=False, shown=shown)

    def _look(self, number: int) -> tuple[Pixels, list[Face]]:
        pixels = self.read(self.paths[number])
        return pixels, self.tools.detect(pixels)

    def _kept(self, number: int, position: int | None, embedder: Embedder) -> Vector | None:
        kept = self.context.embeddings.get(
            self._maker(position, embedder), _sha256(self.paths[number])
        )
        if kept is not None:
            self.context.blocked_faces.check(embedder.name, kept)
        return kept

    def _embedded(
        self,
        number: int,
        position: int | None,
        pixels: Pixels,
        face: Face,
        embedder: Embedder,
    ) -> Vector:
        vector: Vector = embedder.embed(pixels, [face])[0]
        unit(vector)  # what says nothing about its person is refused before it is kept
        self.context.blocked_faces.check(embedder.name, vector)
        self.context.embeddings.put(
            self._maker(position, embedder), _sha256(self.paths[number]), vector
        )
        return vector

    def _maker(self, position: int | None, embedder: Embedder) -> str:
        """Everything that changes the numbers of a vector: network, points, which face."""
        maker = f"{embedder.name}/{self.tools.detector.name}"
        return maker if position is None else f"{maker}#{position}"

    def references(self, cast: Cast, order: Order) -> dict[int, Vector]:
        """Unit vectors of the persons that pictures of input.source show, by number of the role.

        Raises:
            InvalidInputError: ``no_face_found``, ``no_such_face`` or ``face_unusable``.
            WeightsError: nothing here tells persons apart.
        """
        found: dict[int, Vector] = {}
        for number, role in enumerate(cast.roles):
            if role.reference is None or role.reference.file is None:
                continue
            pixels, faces = self._look(role.reference.file)
            where = _named([role.reference.file])
            face = at_position(faces, role.reference.position, order, where=where)
            found[number] = recognisable(self.tools.recognise(pixels, [face])[0])
        return found


def recognisable(vector: Vector | None) -> Vector:
    """The vector of somebody who is looked for; raises ``face_unusable`` where there is none."""
    if vector is None:
        message = "the face of a reference says nothing about its person; use a sharper picture"
        raise UnusableFaceError(message)
    return vector


def _named(pictures: Sequence[int]) -> str:
    if len(pictures) == 1:
        return f"source picture {pictures[0]}"
    return f"any of the {len(pictures)} source pictures of one person"


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
