"""The query of ``GET /v1/jobs`` as a filter."""

from typing import Any, Self

from pydantic import AwareDatetime, ConfigDict, Field, model_validator

from app.api.replies import ListQuery
from app.errors import InvalidRequestError
from app.jobs.queries import JobFilter
from app.jobs.states import JobStatus

METADATA_PREFIX = "metadata."
METADATA_FILTERS_MAX = 8


class JobListQuery(ListQuery):
    """Which jobs to list; beside these, ``metadata.KEY=value``."""

    # Extra names are let through to the validator below, which refuses all but metadata filters.
    model_config = ConfigDict(extra="allow", frozen=True)

    status: JobStatus | None = None
    engine: str | None = Field(None, max_length=64)
    model: str | None = Field(None, max_length=128, description="name or name@version")
    project: str | None = Field(None, max_length=128, description="its name or id")
    batch: str | None = Field(None, max_length=64, description="id of a batch")
    created_after: AwareDatetime | None = None
    created_before: AwareDatetime | None = None

    @model_validator(mode="after")
    def _only_metadata(self) -> Self:
        names = list(self.__pydantic_extra__ or {})
        unknown = [name for name in names if not name.startswith(METADATA_PREFIX)]
        if unknown:
            detail = f"Unknown parameter {unknown[0][:80]!r}. Remove it or check its spelling."
            raise InvalidRequestError(detail, code="unknown_parameter", status=400)
        if len(names) > METADATA_FILTERS_MAX:
            detail = f"At most {METADATA_FILTERS_MAX} metadata filters at once."
            raise InvalidRequestError(detail)
        return self

    def job_filter(self) -> JobFilter:
        """The filter as the read side takes it."""
        return JobFilter(
            status=self.status,
            engine=self.engine,
            model=self.model,
            project=self.project,
            batch=self.batch,
            created_after=self.created_after,
            created_before=self.created_before,
            metadata=self._metadata(),
        )

    def _metadata(self) -> dict[str, str]:
        extra: dict[str, Any] = self.__pydantic_extra__ or {}
        return {name.removeprefix(METADATA_PREFIX): str(value) for name, value in extra.items()}
