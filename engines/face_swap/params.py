"""What a caller may set on a face-swap job."""

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from engines.media.frames import FirstFrame


class Faces(StrEnum):
    """Which faces of the target are replaced."""

    ONE = "one"  # the first in ``order``: the largest, unless another order is asked for
    MANY = "many"  # up to ``max_faces``, in ``order``
    REFERENCE = "reference"  # the one at position ``reference`` in ``order``


class Order(StrEnum):
    """How faces are counted; ties keep the detector's order, best first."""

    LARGE_SMALL = "large-small"  # by area of the box
    SMALL_LARGE = "small-large"
    LEFT_RIGHT = "left-right"  # by the left edge of the box
    RIGHT_LEFT = "right-left"
    TOP_BOTTOM = "top-bottom"  # by the top edge of the box
    BOTTOM_TOP = "bottom-top"
    BEST_WORST = "best-worst"  # by the detector's score
    WORST_BEST = "worst-best"


class Mask(StrEnum):
    """What part of the face is replaced."""

    ELLIPSE = "ellipse"  # eyes to chin, the least that carries a face
    BOX = "box"  # a rounded box of the same width and height: more cheek and jaw


class FaceSwapParams(BaseModel):
    """Parameters of the ``face-swap`` engine."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enhance_level: Annotated[int, Field(ge=0, le=3, strict=True)] = Field(
        default=0, description="0 and 1: none; 2: more detail in the swapped face; 3: the most."
    )
    faces: Faces = Field(default=Faces.ONE, description="Which faces of the target are replaced.")
    max_faces: Annotated[int, Field(ge=1, le=32, strict=True)] = Field(
        default=8, description="With faces=many: the most faces replaced, and the quote's ceiling."
    )
    order: Order = Field(default=Order.LARGE_SMALL, description="How faces are counted.")
    reference: Annotated[int, Field(ge=0, le=255, strict=True)] = Field(
        default=0, description="With faces=reference: the position of the face in order, from 0."
    )
    first_frame: FirstFrame = False
    mask: Mask = Field(default=Mask.ELLIPSE, description="What part of the face is replaced.")
    blend: Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False, strict=True)] = Field(
        default=1.0, description="Share of the new face in the result; 0 keeps the target."
    )
