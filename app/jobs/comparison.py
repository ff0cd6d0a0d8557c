"""Which two pictures of a finished job lie on each other in the viewer. Pure."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from app.jobs.record import JobRow

# What every browser shows; a result of another type brings previews.
SHOWN: Final = {
    "image": frozenset({"image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp"}),
    "video": frozenset({"video/mp4", "video/webm", "video/quicktime"}),
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Ids of files, and the size of the result in pixels."""

    kind: str  # image | video
    result_id: str  # what is downloaded
    after_id: str  # what is shown of it: itself, or its preview
    before_id: str  # what was sent, or its preview
    name: str
    width: int
    height: int

    def can_show(self, media_type: str) -> bool:
        """Whether a browser shows a file of this type in the place of ``before``."""
        return media_type in SHOWN[self.kind]


def comparison_of(job: JobRow, *, now: datetime) -> Comparison | None:
    """The comparison of a job; None where there is nothing (any more) to compare."""
    output = job["output"]
    if job["engine"] != "colorize" or job["status"] != "succeeded" or not output:
        return None
    if job["expires_at"] is not None and job["expires_at"] <= now:
        return None
    files: dict[str, dict[str, Any]] = {file["name"]: file for file in output["files"]}
    result = output["files"][0]
    kind = result["media_type"].partition("/")[0]
    preview = output["data"].get("preview") or {}
    after = files.get(preview.get("after", ""), result)
    if kind not in SHOWN or after["media_type"] not in SHOWN[kind]:
        return None
    before = files.get(preview.get("before", ""))
    return Comparison(
        kind=kind,
        result_id=result["id"],
        after_id=after["id"],
        before_id=job["inputs"]["target"] if before is None else before["id"],
        name=result["name"],
        width=output["data"]["width"],
        height=output["data"]["height"],
    )
