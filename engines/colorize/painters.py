"""What guesses colour: a network of DDColor's form, the tiny network, or the built-in palette.

All three look at a small picture of their own and say a and b for it; what they look at is made by
``look``, which may run on other threads than ``paint``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol

import numpy as np

from engines.colorize import builtin, ddcolor, skin, tiny
from engines.colorize.chroma import Colour, Light, UnitPixels, lightness, neutral_grey
from engines.colorize.params import Chroma
from engines.colorize.shrink import Method, shrink
from engines.colorize.spread import Bilinear, Guided, Lined, Nearest, Spread
from engines.errors import EngineFaultError
from engines.faces.face import Face
from engines.loading import load_network, weights_source
from engines.manifest import ModelVersion
from engines.media.rows import Rows
from engines.metering import Execution
from engines.registry import Services
from engines.runners.base import Runner
from engines.sessions import Loaded

Size = tuple[int, int]  # height, width


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A picture as a model looks at it."""

    light: Light  # at the model's size, averaged: what colour is laid along
    shown: UnitPixels  # what a network is given; [height, width, 3]
    faces: tuple[Face, ...]  # in pixels of ``light``

    @property
    def size(self) -> Size:
        """Of what is looked at."""
        return int(self.light.shape[0]), int(self.light.shape[1])


@dataclass(frozen=True, slots=True, eq=False)
class Painted:
    """Colour for a subject, and the share of computing that was for it."""

    colour: Colour
    elapsed_ms: float


class Painter(Protocol):
    """One loaded model. ``paint`` runs on one thread at a time, ``look`` on any."""

    @property
    def execution(self) -> Execution:
        """Where and how it runs."""

    @property
    def takes_batches(self) -> bool:
        """Whether several subjects in one run cost less than one after another."""

    def look(self, rows: Rows, size: Size, faces: Sequence[Face]) -> Subject:
        """Make the small picture; ``faces`` are in pixels of ``rows``."""

    def paint(self, subjects: Sequence[Subject], *, tile: int | None) -> list[Painted]:
        """Say the colours of subjects of any sizes."""

    def spread(
        self, manner: Chroma, subject: Subject, colour: Colour, *, height: int, width: int
    ) -> Spread:
        """How colour reaches a picture of a size."""


@dataclass(frozen=True, slots=True)
class DDColor:
    """A network with DDColor's inputs and outputs; it knows objects, so its edges are meant."""

    runner: Runner

    @property
    def execution(self) -> Execution:
        """As the runner says."""
        return Execution.of(self.runner)

    @property
    def takes_batches(self) -> bool:
        """Where the file was exported for any number of pictures."""
        return self.runner.inputs[0].shape[0] is None

    def look(self, rows: Rows, size: Size, faces: Sequence[Face]) -> Subject:
        """The network sees the two nearest pixels, as in training; light is averaged."""
        height, width = ddcolor.fitting_size(self.runner, size)
        seen = shrink(rows, height=height, width=width, method=Method.BILINEAR)
        averaged = shrink(rows, height=height, width=width, method=Method.AREA)
        light = lightness(averaged)
        return Subject(light, neutral_grey(seen), scaled(faces, rows, light))

    def paint(self, subjects: Sequence[Subject], *, tile: int | None) -> list[Painted]:
        """Subjects of one size together."""
        answers: dict[int, Painted] = {}
        for size in dict.fromkeys(each.size for each in subjects):
            places = [place for place, each in enumerate(subjects) if each.size == size]
            started = perf_counter()
            colours = ddcolor.predict(
                self.runner, [subjects[place].shown for place in places], tile=tile
            )
            share = (perf_counter() - started) * 1000 / len(places)
            for place, colour in zip(places, colours, strict=True):
                answers[place] = Painted(colour, share)
        return [answers[place] for place in range(len(subjects))]

    def spread(
        self, manner: Chroma, subject: Subject, colour: Colour, *, height: int, width: int
    ) -> Spread:
        """Guided adds what the full size shows beyond the network's."""
        if manner is Chroma.GUIDED:
            return Guided(subject.light, colour, height=height, width=width)
        return _plain_spread(manner, colour, height=height, width=width)


@dataclass(frozen=True, slots=True)
class Tiny:
    """The tiny network; skin, which it hardly knows, comes from the faces."""

    runner: Runner
    takes_batches: bool = False

    @property
    def execution(self) -> Execution:
        """As the runner says."""
        return Execution.of(self.runner)

    def look(self, rows: Rows, size: Size, faces: Sequence[Face]) -> Subject:
        """A square or rectangle, proportions not kept."""
        small = shrink(rows, height=size[0], width=size[1], method=Method.AREA)
        light = lightness(small)
        return Subject(light, small, scaled(faces, rows, light))

    def paint(self, subjects: Sequence[Subject], *, tile: int | None) -> list[Painted]:
        """One after another."""
        return [_timed(self._one, subject, tile) for subject in subjects]

    def _one(self, subject: Subject, tile: int | None) -> Colour:
        colour = tiny.predict(self.runner, subject.shown, tile=tile)
        weights = skin.skin_map(subject.light, subject.faces)[..., None]
        colour += (skin.skin_colour(subject.light, subject.faces) - colour) * weights
        return colour

    def spread(
        self, manner: Chroma, subject: Subject, colour: Colour, *, height: int, width: int
    ) -> Spread:
        """Its colours are areas without edges: guided makes lines over lightness of them."""
        if manner is Chroma.GUIDED:
            return Lined(subject.light, colour, height=height, width=width)
        return _plain_spread(manner, colour, height=height, width=width)


@dataclass(frozen=True, slots=True)
class Palette:
    """The built-in palette."""

    takes_batches: bool = False

    @property
    def execution(self) -> Execution:
        """No network."""
        return Execution.opencv()

    def look(self, rows: Rows, size: Size, faces: Sequence[Face]) -> Subject:
        """The longer side at most that of ``size``, proportions kept."""
        ratio = min(1.0, max(size) / max(rows.height, rows.width))
        height, width = max(1, round(rows.height * ratio)), max(1, round(rows.width * ratio))
        small = shrink(rows, height=height, width=width, method=Method.AREA)
        light = lightness(small)
        return Subject(light, small, scaled(faces, rows, light))

    def paint(self, subjects: Sequence[Subject], *, tile: int | None) -> list[Painted]:  # noqa: ARG002 - no network, no tiles
        """One after another."""
        return [_timed(_palette, subject, None) for subject in subjects]

    def spread(
        self, manner: Chroma, subject: Subject, colour: Colour, *, height: int, width: int
    ) -> Spread:
        """As for the tiny network."""
        if manner is Chroma.GUIDED:
            return Lined(subject.light, colour, height=height, width=width)
        return _plain_spread(manner, colour, height=height, width=width)


def load_painter(model: ModelVersion, services: Services) -> Loaded[Painter]:
    """The model, loaded at the first call; raises ``WeightsError`` without its weights."""
    if model.runner == "opencv":
        return Loaded(Palette(), 0.0)
    loaded = load_network(services, model)
    return Loaded(_over(model, loaded.value), loaded.cold_start_ms)


def load_lanes(model: ModelVersion, services: Services) -> Loaded[tuple[Painter, ...]]:
    """The model once for every thread that may run it; see ``Sessions.lanes``."""
    if model.runner == "opencv":
        return Loaded((Palette(),), 0.0)
    loaded = services.sessions.lanes(weights_source(services.registry, model))
    return Loaded(tuple(_over(model, each) for each in loaded.value), loaded.cold_start_ms)


def scaled(faces: Sequence[Face], rows: Rows, light: Light) -> tuple[Face, ...]:
    """The faces of a picture in pixels of its small lightness."""
    x, y = light.shape[1] / rows.width, light.shape[0] / rows.height
    return tuple(
        Face(
            box=(face.box[0] * x, face.box[1] * y, face.box[2] * x, face.box[3] * y),
            points=face.points * np.array([x, y]),
            score=face.score,
        )
        for face in faces
    )


def _over(model: ModelVersion, runner: Runner) -> Painter:
    contract = model.options.get("contract")
    if contract == "tiny":
        return Tiny(runner)
    if contract == "ddcolor":
        ddcolor.check(runner)
        return DDColor(runner)
    raise EngineFaultError(f"{model.id} names no contract that is known here in engine.toml")


def _plain_spread(manner: Chroma, colour: Colour, *, height: int, width: int) -> Spread:
    if manner is Chroma.REFERENCE:
        return Nearest(colour, height=height, width=width)
    return Bilinear(colour, height=height, width=width)


def _palette(subject: Subject, _tile: int | None) -> Colour:
    return builtin.paint(subject.light, subject.faces)


class _Paints(Protocol):
    def __call__(self, subject: Subject, tile: int | None, /) -> Colour: ...


def _timed(paint: _Paints, subject: Subject, tile: int | None) -> Painted:
    started = perf_counter()
    colour = paint(subject, tile)
    return Painted(colour, (perf_counter() - started) * 1000)
