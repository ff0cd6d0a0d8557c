"""What a caller may set on a colorize job."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from engines.media.delivery import ResultContainer, VideoQuality
from engines.media.frames import FirstFrame
from engines.media.label import VisibleLabel
from engines.media.resizing import Filter, Fit, Sizing


class Kind(StrEnum):
    """What the picture shows; it chooses the price, the model and the size it looks at."""

    PERSON = "person"  # faces get skin
    BUILDING = "building"  # no faces are looked for
    AUTO = "auto"  # a person when a face or a person is found, else a building


class Chroma(StrEnum):
    """How colour that was predicted small is laid over the full-size picture."""

    REFERENCE = "reference"  # nearest, as the published pipeline does: blocks at edges
    BILINEAR = "bilinear"  # smooth, bleeds over edges
    GUIDED = "guided"  # follows the edges of the light


def _whole(value: object) -> object:
    """Keep ``true`` and ``2.0`` from passing as 1 and 2: Python calls them equal."""
    if type(value) is not int:
        raise ValueError("must be a whole number")
    return value


Side = Annotated[int, Field(ge=32, le=4096, multiple_of=32, strict=True)]
Pixels = Annotated[int, Field(ge=1, le=16_383, strict=True)]
Flag = Annotated[bool, Field(strict=True)]


class ColorizeParams(BaseModel):
    """Parameters of the ``colorize`` engine."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Kind = Field(default=Kind.AUTO, description="What the picture shows.")
    input_size: Side | tuple[Side, Side] | None = Field(
        default=None,
        description="Side in pixels at which colour is predicted, or [height, width]; null: the "
        "size that belongs to the type.",
    )
    chroma: Chroma = Field(
        default=Chroma.GUIDED, description="How colour is laid over the full-size picture."
    )
    upscale: Annotated[Literal[1, 2, 4], BeforeValidator(_whole)] = Field(
        default=1, description="The result is this many times as wide and high."
    )
    output_size: tuple[Pixels, Pixels] | None = Field(
        default=None,
        description="[height, width] of the result in pixels; null: as it comes out.",
    )
    output_fit: Fit = Field(
        default=Fit.STRETCH, description="Where output_size has another ratio: stretch, or crop."
    )
    output_filter: Filter = Field(default=Filter.LANCZOS, description="How output_size is reached.")
    tile_size: Annotated[int, Field(ge=128, le=2048, multiple_of=32, strict=True)] | None = Field(
        default=None,
        description="A network runs in tiles of this side if input_size is larger; null: whole.",
    )
    denoise: Flag = Field(default=False, description="Take grain out of the light first.")
    scratch: Flag = Field(default=False, description="Take scratches out of the light first.")
    smoothing: Annotated[float, Field(ge=0, le=0.95)] = Field(
        default=0.9,
        description="Of a video: how much of a frame's colour comes from the frame before it.",
    )
    label: VisibleLabel = None
    quality: VideoQuality = None
    container: ResultContainer = None
    first_frame: FirstFrame = False
    fp16: Flag = Field(
        default=False, description="Half precision, where a variant of the model is registered."
    )

    @property
    def sizing(self) -> Sizing | None:
        """The size asked for; None: whatever comes out."""
        if self.output_size is None:
            return None
        height, width = self.output_size
        return Sizing(height, width, self.output_fit, self.output_filter)


def typed(params: BaseModel) -> ColorizeParams:
    """The parameters as what they are; ``TypeError`` for those of another engine."""
    if not isinstance(params, ColorizeParams):
        raise TypeError(f"colorize runs on ColorizeParams, not {type(params).__name__}")
    return params
