"""Which shapes a plan is made for: the least, the usual and the largest of each free input."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engines.errors import EngineFaultError

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Profile:
    """The shapes of one input. TensorRT is fastest at ``opt`` and runs nothing outside."""

    input: str
    min: Shape
    opt: Shape
    max: Shape
    file: str | None = None  # the weights file meant; None: every network with such an input
    values: tuple[float, float] = (0.0, 1.0)  # what the engine feeds; for checks and warming up

    def __post_init__(self) -> None:
        """Raise ``ValueError`` unless min <= opt <= max in every dimension."""
        fits = len(self.min) == len(self.opt) == len(self.max) and all(
            0 < low <= usual <= high
            for low, usual, high in zip(self.min, self.opt, self.max, strict=True)
        )
        if not fits:
            message = (
                f"the profile of {self.input} must have 0 < min <= opt <= max in every dimension, "
                f"got {list(self.min)}, {list(self.opt)}, {list(self.max)}"
            )
            raise ValueError(message)

    def fits(self, declared: Sequence[int | None]) -> bool:
        """Whether it says nothing else than the network about the lengths the network fixes."""
        return len(declared) == len(self.min) and all(
            length is None or low == high == length
            for length, low, high in zip(declared, self.min, self.max, strict=True)
        )


def choose_profiles(
    declared: Mapping[str, Sequence[int | None]], profiles: Sequence[Profile], *, file: str
) -> tuple[Profile, ...]:
    """The profile of every input that has a free length, in the network's order.

    Args:
        declared: shape of each input; None: any length.
        profiles: of the model; one for the file itself goes before one for every file.
        file: name of the weights file.

    Raises:
        EngineFaultError: code ``profile_missing``.
    """
    chosen = []
    for name, shape in declared.items():
        if None not in shape:
            continue
        mine = [each for each in profiles if each.input == name and each.file in {file, None}]
        mine.sort(key=lambda each: each.file is None)
        fitting = next((each for each in mine if each.fits(shape)), None)
        if fitting is None:
            message = (
                f"{file} takes {name} in any size ({_shown(shape)}) and no profile says which a "
                "plan is for; add [[models.profiles]] to the model in its engine.toml"
            )
            raise EngineFaultError(message, code="profile_missing")
        chosen.append(fitting)
    return tuple(chosen)


def _shown(shape: Sequence[int | None]) -> str:
    return "x".join("?" if length is None else str(length) for length in shape)
