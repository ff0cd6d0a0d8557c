"""What a caller may set on a colorize job."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


class Kind(StrEnum):
    """What the picture shows; it chooses the price and whether faces are looked for."""

    PERSON = "person"  # faces get skin
    BUILDING = "building"  # no faces are looked for
    AUTO = "auto"  # a person when a face is found, else a building


def _whole(value: object) -> object:
    """Keep ``true`` and ``2.0`` from passing as 1 and 2: Python calls them equal."""
    if type(value) is not int:
        raise ValueError("must be a whole number")
    return value


class ColorizeParams(BaseModel):
    """Parameters of the ``colorize`` engine."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Kind = Field(default=Kind.AUTO, description="What the picture shows.")
    input_size: Annotated[int, Field(ge=32, le=2048, multiple_of=32, strict=True)] | None = Field(
        default=None,
        description="Side in pixels at which colour is predicted; null: the model's own.",
    )
    upscale: Annotated[Literal[1, 2, 4], BeforeValidator(_whole)] = Field(
        default=1, description="The result is this many times as wide and high."
    )
    tile_size: Annotated[int, Field(ge=128, le=2048, multiple_of=32, strict=True)] | None = Field(
        default=None,
        description="A network runs in tiles of this side if input_size is larger; null: whole.",
    )
    fp16: Annotated[bool, Field(strict=True)] = Field(
        default=False, description="Half precision; only where a device offers it."
    )
