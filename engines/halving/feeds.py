"""What a conversion is checked on: tensors that look like pictures to a network, always the same.

Noise alone would not do: its sums cancel, and the sums of smooth areas are what fp16 loses.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from engines.profiles import Profile, choose_profiles
from engines.runners.base import Array, Feeds, TensorSpec

_BLOCK = 16  # pixels: sides of the areas
_DARK = 0.04  # share of the full light
_FLAT = 2  # dimensions of a list of numbers: pictures have more


def picture_feeds(
    inputs: Sequence[TensorSpec], profiles: Sequence[Profile], *, file: str
) -> Iterator[Feeds]:
    """Feeds of a network: each kind of picture at the usual size, one at the least size.

    Args:
        inputs: as the network declares them.
        profiles: of its model: lengths of free sides, and the range of values.
        file: name of the weights file.

    Raises:
        EngineFaultError: code ``profile_missing``: nothing says which sizes are usual.
    """
    chosen = choose_profiles({each.name: each.shape for each in inputs}, profiles, file=file)
    sizes = {each.input: each for each in chosen}
    ranges = {each.input: each.values for each in reversed(profiles) if each.file in {file, None}}
    usual = {each.name: _shape(each, sizes.get(each.name)) for each in inputs}
    least = {each.name: sizes[each.name].min if each.name in sizes else usual[each.name]
             for each in inputs}  # fmt: skip
    for shapes, kinds in ((usual, _KINDS), (least, _KINDS[2:3] if least != usual else ())):
        for number, kind in enumerate(kinds):
            random = np.random.default_rng(number)
            yield {
                each.name: _scaled(
                    kind(shapes[each.name], random), ranges.get(each.name, (0.0, 1.0)), each
                )
                for each in inputs
            }


def _shape(spec: TensorSpec, profile: Profile | None) -> tuple[int, ...]:
    """The usual size, in the least number of pictures."""
    if profile is None:
        return tuple(int(length or 1) for length in spec.shape)
    return (*profile.min[:1], *profile.opt[1:])


def _scaled(unit: Array, values: tuple[float, float], spec: TensorSpec) -> Array:
    low, high = values
    return np.ascontiguousarray(low + unit * (high - low)).astype(spec.dtype)


def _smooth(shape: tuple[int, ...], random: np.random.Generator) -> Array:
    """A sky: light that changes slowly, differently in each channel."""
    field = random.random((*shape[:-2], 1, 1))
    for axis, length in enumerate(shape[-2:]):
        ramp = np.linspace(0, np.pi, length).reshape((-1, 1) if axis == 0 else (1, -1))
        field = field + np.sin(ramp * random.uniform(0.5, 3) + random.uniform(0, 6)) / 2
    return _unit(np.broadcast_to(field, shape))


def _areas(shape: tuple[int, ...], random: np.random.Generator) -> Array:
    """A wall: even areas with hard edges, the brightest and the darkest values among them."""
    height, width = shape[-2:]
    small = (*shape[:-2], -(-height // _BLOCK), -(-width // _BLOCK))
    tiles = _unit(random.random(small))
    return tiles.repeat(_BLOCK, axis=-2).repeat(_BLOCK, axis=-1)[..., :height, :width]


def _texture(shape: tuple[int, ...], random: np.random.Generator) -> Array:
    """A meadow: areas under grain."""
    return _unit(_areas(shape, random) + random.normal(0, 0.1, shape))


def _night(shape: tuple[int, ...], random: np.random.Generator) -> Array:
    """Nearly nothing, which small numbers carry."""
    return _DARK * _texture(shape, random)


_Kind = Callable[[tuple[int, ...], np.random.Generator], Array]


def _plain(kind: _Kind) -> _Kind:
    """For inputs that are no pictures (fewer than two dimensions to lay one in), plain numbers."""
    return lambda shape, random: kind(shape, random) if len(shape) > _FLAT else random.random(shape)


def _unit(field: Array) -> Array:
    low, high = field.min(), field.max()
    return np.asarray((field - low) / max(high - low, np.finfo(np.float64).tiny))


_KINDS: tuple[_Kind, ...] = tuple(map(_plain, (_smooth, _areas, _texture, _night)))
