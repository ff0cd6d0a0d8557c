"""What a caller may set on a face-swap job."""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from engines.faces.choice import DetectorName, Search
from engines.media.delivery import ResultContainer, VideoQuality
from engines.media.frames import FirstFrame
from engines.media.label import VisibleLabel

SOURCES_MAX = 16  # pictures beside the target: source faces and reference faces together
THRESHOLD = 0.4  # cosine: the same person is above 0.5 with the embedders here, others below 0.3


class Faces(StrEnum):
    """Which faces of the target are replaced."""

    ONE = "one"  # the first in ``order``: the largest, unless another order is asked for
    MANY = "many"  # up to ``max_faces``, in ``order``
    REFERENCE = "reference"  # the person that ``reference`` shows


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
    BOX = "box"  # classical: a rounded box of the same size; networks: the crop with a soft rim
    OCCLUSION = "occlusion"  # not what covers the face: hands, hair, a microphone
    REGION = "region"  # not what is no skin, eye, nose or mouth


class Enhancer(StrEnum):
    """What ``enhance_level`` 2 and 3 enhance with."""

    AUTO = "auto"  # GFPGAN where its weights are, else the built-in filter
    GFPGAN = "gfpgan"
    X4 = "x4"  # a network that enlarges any picture
    DETAIL = "detail"  # filters, no weights


def _as_tuple(value: object) -> object:
    """One thing where several may be given."""
    return tuple(value) if isinstance(value, list | tuple | set) else (value,)


def _each_once(angles: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(angles)) != len(angles):
        raise ValueError("name each angle once")
    return angles


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Position = Annotated[int, Field(ge=0, le=255, strict=True)]
FileNumber = Annotated[int, Field(ge=0, lt=SOURCES_MAX, strict=True)]


class Reference(_Closed):
    """A person, shown by a face: of a picture in ``input.source``, or of the target itself."""

    file: FileNumber | None = Field(
        default=None, description="Number of the picture in input.source; null: the target itself."
    )
    position: Position = Field(default=0, description="Which face of it, counted in order, from 0.")
    frame: Annotated[int, Field(ge=0, strict=True)] = Field(
        default=0, description="Of a target that is a video: the frame whose faces are counted."
    )


def _as_reference(value: object) -> object:
    """A plain number is a position in the target."""
    if isinstance(value, int) and not isinstance(value, bool):
        return {"position": value}
    return value


AnyReference = Annotated[Reference, BeforeValidator(_as_reference)]


class Pair(_Closed):
    """One source face for one person of the target."""

    source: Annotated[tuple[FileNumber, ...], BeforeValidator(_as_tuple), Field(min_length=1)] = (
        Field(description="Number of a picture in input.source; several of one person: a list.")
    )
    source_face: Position | None = Field(
        default=None, description="As the parameter of that name, for this pair."
    )
    reference: AnyReference = Field(description="Who gets it, as the parameter of that name.")


Angle = Annotated[int, Field(strict=True, ge=0, le=270, multiple_of=90)]


class Detector(_Closed):
    """How faces are looked for; what is left out is the detector's own way."""

    name: DetectorName = Field(
        default=DetectorName.AUTO, description="What looks; auto: the best that is here."
    )
    size: Annotated[int, Field(ge=128, le=1280, multiple_of=32, strict=True)] | None = Field(
        default=None, description="Pictures are fitted into a square of so many pixels."
    )
    score: Annotated[float, Field(ge=0.05, le=0.99, strict=True)] | None = Field(
        default=None, description="The least score of a face: lower finds more, right or not."
    )
    angles: Annotated[
        tuple[Angle, ...],
        BeforeValidator(_as_tuple),
        Field(min_length=1, max_length=4),
        AfterValidator(_each_once),
    ] = Field(default=(0,), description="Turns in which the picture is looked at, in degrees.")
    landmarks: Literal[5, 68] = Field(
        default=5, description="68: the five points come from a network of sixty-eight."
    )

    def search(self) -> Search:
        """As the detectors are told it."""
        return Search(self.name, self.size, self.score, self.angles, refines=self.landmarks == 68)  # noqa: PLR2004 - of two


class FaceSwapParams(_Closed):
    """Parameters of the ``face-swap`` engine."""

    enhance_level: Annotated[int, Field(ge=0, le=3, strict=True)] = Field(
        default=0, description="0 and 1: none; 2: more detail in the swapped face; 3: the most."
    )
    enhancer: Enhancer = Field(default=Enhancer.AUTO, description="What levels 2 and 3 use.")
    faces: Faces = Field(default=Faces.ONE, description="Which faces of the target are replaced.")
    max_faces: Annotated[int, Field(ge=1, le=32, strict=True)] = Field(
        default=8, description="With faces=many: the most faces replaced, and the quote's ceiling."
    )
    order: Order = Field(default=Order.LARGE_SMALL, description="How faces are counted.")
    reference: AnyReference = Field(
        default=Reference(),
        description="With faces=reference: who is replaced. A number is a position in the target.",
    )
    threshold: Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False, strict=True)] = Field(
        default=THRESHOLD,
        description="Least cosine of two faces of one person, where faces are compared.",
    )
    mapping: tuple[Pair, ...] | None = Field(
        default=None,
        min_length=1,
        max_length=SOURCES_MAX,
        description="Several source faces for several persons, instead of faces and reference.",
    )
    source_face: Position | None = Field(
        default=None,
        description="Which face of a source picture with several, by size, from 0; null: the only "
        "one, or one at least twice as wide as any other.",
    )
    detector: Detector = Field(default=Detector(), description="How faces are looked for.")
    label: VisibleLabel = None
    quality: VideoQuality = None
    container: ResultContainer = None
    first_frame: FirstFrame = False
    mask: Annotated[tuple[Mask, ...], BeforeValidator(_as_tuple), Field(min_length=1)] | None = (
        Field(
            default=None,
            description="What part of the face is replaced: one or several of ellipse, box, "
            "occlusion, region; what lies inside all of them. null: what suits the model.",
        )
    )
    pixel_boost: Annotated[int, Field(strict=True)] | None = Field(
        default=None,
        description="Side of the swapped face in pixels: 256 or 512, for networks of 128.",
    )
    color_match: Annotated[bool, Field(strict=True)] = Field(
        default=False,
        description="Give a network's face the target's colours; the classical model always does.",
    )
    blend: Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False, strict=True)] = Field(
        default=1.0, description="Share of the new face in the result; 0 keeps the target."
    )

    @model_validator(mode="after")
    def _mapping_alone(self) -> Self:
        if self.mapping is None:
            return self
        given = self.model_fields_set & {"reference", "source_face"}
        if given or self.faces is Faces.MANY:
            raise ValueError(
                "mapping says which face goes onto whom; leave faces=many, reference and "
                "source_face out"
            )
        return self


def typed(params: BaseModel) -> FaceSwapParams:
    """The parameters of a run as what they are."""
    if not isinstance(params, FaceSwapParams):
        raise TypeError(f"face-swap runs on FaceSwapParams, not {type(params).__name__}")
    return params
