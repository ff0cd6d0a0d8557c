from pydantic import BaseModel, ConfigDict, Field


class DigestParams(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    frame_ms: float = Field(default=0.0, ge=0, description="How long a frame takes.")
    bad_frame: int = Field(default=-1, description="The frame that nobody can look at.")
    broken_frame: int = Field(default=-1, description="The frame that breaks the engine.")
    whole: bool = Field(default=False, description="Cannot be split.")
