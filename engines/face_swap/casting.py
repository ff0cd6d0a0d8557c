"""Who plays whom: which pictures give a source face, and who of the target gets it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from engines.errors import InvalidInputError
from engines.face_swap.params import SOURCES_MAX, Faces, FaceSwapParams, Pair, Reference


@dataclass(frozen=True, slots=True)
class Role:
    """One source identity and who gets it."""

    sources: tuple[int, ...]  # numbers of pictures in input.source, all of one person
    source_face: int | None = None  # which face of each; None: the only or clearly largest one
    reference: Reference | None = None  # None: not one person, but the first faces in order


@dataclass(frozen=True, slots=True)
class Cast:
    """Everybody of one job."""

    roles: tuple[Role, ...]
    most_faces: int  # of one picture or frame

    @property
    def references(self) -> tuple[Reference, ...]:
        """Who is looked for, one for each role; empty where any face will do."""
        return tuple(role.reference for role in self.roles if role.reference is not None)


def cast(params: FaceSwapParams, *, pictures: int) -> Cast:
    """Say who plays whom.

    Args:
        params: of the job.
        pictures: how many there are in input.source.

    Raises:
        InvalidInputError: ``wrong_source_count``, ``no_such_source``, ``source_unused``.
    """
    if not 1 <= pictures <= SOURCES_MAX:
        message = f"send 1 to {SOURCES_MAX} source pictures, not {pictures}"
        raise InvalidInputError(message, code="wrong_source_count")
    roles = _mapped(params.mapping) if params.mapping else (_one_for_all(params, pictures),)
    _check_numbers(roles, pictures)
    if params.mapping or params.faces is not Faces.MANY:
        return Cast(roles, most_faces=len(roles))
    return Cast(roles, most_faces=params.max_faces)


def _mapped(mapping: Sequence[Pair]) -> tuple[Role, ...]:
    wanted = [pair.reference for pair in mapping]
    if len(set(wanted)) < len(wanted):
        message = "mapping names one reference twice; a person can get one face only"
        raise InvalidInputError(message, code="reference_repeated")
    return tuple(Role(pair.source, pair.source_face, pair.reference) for pair in mapping)


def _one_for_all(params: FaceSwapParams, pictures: int) -> Role:
    """All pictures show one source person, but for the one that shows the reference."""
    by_reference = params.faces is Faces.REFERENCE
    reference = params.reference if by_reference else None
    shown = reference.file if reference is not None else None
    sources = tuple(number for number in range(pictures) if number != shown)
    if not sources:
        message = (
            "the only picture in input.source is the reference; send a picture of the face to take "
            "as well"
        )
        raise InvalidInputError(message, code="wrong_source_count")
    return Role(sources, params.source_face, reference)


def _check_numbers(roles: Sequence[Role], pictures: int) -> None:
    named = {number for role in roles for number in role.sources}
    named |= {
        role.reference.file
        for role in roles
        if role.reference is not None and role.reference.file is not None
    }
    if beyond := sorted(number for number in named if number >= pictures):
        message = (
            f"input.source has no picture {beyond[0]}: it has {pictures}, numbered from 0 to "
            f"{pictures - 1}"
        )
        raise InvalidInputError(message, code="no_such_source")
    if idle := sorted(set(range(pictures)) - named):
        message = f"picture {idle[0]} of input.source is used nowhere; leave it out or name it"
        raise InvalidInputError(message, code="source_unused")
