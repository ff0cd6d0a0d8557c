"""What a caller may ask of detection."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from engines.detect.detection import Question
from engines.errors import EngineFaultError
from engines.media.delivery import ResultContainer, VideoQuality
from engines.media.frames import FirstFrame
from engines.media.label import VisibleLabel

STRIDE = 32
SIDE_MIN, SIDE_MAX = 32, 4096

Side = Annotated[int, Field(strict=True, ge=SIDE_MIN, le=SIDE_MAX, multiple_of=STRIDE)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class MaskSize(StrEnum):
    """Whose pixels a mask covers."""

    PICTURE = "picture"  # of the input
    NETWORK = "network"  # of the canvas it is laid out on


class ExportFormat(StrEnum):
    """Files that training tools read."""

    COCO = "coco"  # one JSON with images, annotations and categories
    YOLO = "yolo"  # a line of text per object, a file per picture


class DetectParams(BaseModel):
    """Parameters of ``detect``; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    img_size: Side | Annotated[tuple[Side, Side], Field(strict=False)] | None = Field(
        default=None,
        description=(
            "Inference size: one side of a square or [height, width], multiples of 32. "
            "Null: the model's own, usually 640. The price follows it."
        ),
    )
    conf: Share = Field(default=0.25, description="Only detections above this confidence.")
    iou: Share = Field(
        default=0.7, description="Of two boxes of one class that overlap more, the weaker goes."
    )
    max_det: Annotated[int, Field(strict=True, ge=1, le=3000)] = Field(
        default=300, description="At most so many detections per picture or frame, best first."
    )
    classes: tuple[Annotated[int, Field(strict=True, ge=0)], ...] | None = Field(
        default=None, max_length=1000, description="Only these class ids. Null: all."
    )
    annotate: Annotated[bool, Field(strict=True)] = Field(
        default=False,
        description="Also give the picture or video back with boxes, masks and skeletons drawn.",
    )
    mask_size: MaskSize = Field(
        default=MaskSize.PICTURE,
        description=(
            "Pixels of the masks of -seg models: of the input picture, or of the network's canvas "
            "with its grey borders."
        ),
    )
    label: VisibleLabel = None
    quality: VideoQuality = None
    container: ResultContainer = None
    first_frame: FirstFrame = False
    export: tuple[ExportFormat, ...] = Field(
        default=(),
        max_length=len(ExportFormat),
        description="Also give the detections as files: coco, yolo or both.",
    )

    @field_validator("export", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:  # noqa: ANN401 - raw JSON
        return (value,) if isinstance(value, str) else value

    @field_validator("export")
    @classmethod
    def _each_once(cls, value: tuple[ExportFormat, ...]) -> tuple[ExportFormat, ...]:
        return tuple(dict.fromkeys(value))

    @field_validator("conf", "iou", mode="before")
    @classmethod
    def _numbers_only(cls, value: Any) -> Any:  # noqa: ANN401 - raw JSON
        # pydantic would read "0.5" and true as numbers
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError("must be a number")  # noqa: TRY004 - pydantic's contract
        return value

    def size(self, default: tuple[int, int]) -> tuple[int, int]:
        """Inference height and width."""
        if self.img_size is None:
            return default
        if isinstance(self.img_size, int):
            return (self.img_size, self.img_size)
        return self.img_size

    def question(self, size: tuple[int, int]) -> Question:
        """What a detector is asked, at an inference size."""
        return Question(
            size=size,
            conf=self.conf,
            iou=self.iou,
            max_det=self.max_det,
            classes=self.classes,
            masks_of_picture=self.mask_size is MaskSize.PICTURE,
        )


def typed(params: BaseModel) -> DetectParams:
    """The parameters as this engine's own; raises ``EngineFaultError`` for another engine's."""
    if not isinstance(params, DetectParams):
        message = f"detect takes DetectParams, got {type(params).__name__}"
        raise EngineFaultError(message)
    return params
