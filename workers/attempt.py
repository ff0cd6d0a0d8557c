"""An attempt that is under way: the job it owns, its lease, its folder, its inputs."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path

from sqlalchemy.orm import Session

from app.jobs.lifecycle import advance_many, claim, claim_many
from app.jobs.record import Claimed
from app.jobs.result_cache import Kept, cache_key, find
from app.jobs.states import JobStatus
from engines.spec import RunItem
from workers.announcement import announce_starts
from workers.attempt_lease import LEASE_S, AttemptLease, Renewal
from workers.dispatch.publication import DEFAULT_RUNTIME_S
from workers.faces import TenantEmbeddings
from workers.inputs import Inputs, locate
from workers.own_models import model_of
from workers.run_context import AttemptContext
from workers.services import Services
from workers.work_folders import work_folder, work_root


@dataclass(frozen=True, slots=True)
class Taken:
    """A job that was just claimed, with what the database knows about its run."""

    claimed: Claimed
    inputs: Inputs
    cache_key: str  # what was asked, as the result cache knows it
    kept: Kept | None  # an earlier result of the same
    is_begun: bool = True  # False: still starting, a plan may have to be built first


@dataclass(frozen=True, slots=True)
class Attempt:
    """Begun by ``begin``; whoever holds it closes it, after its end was written."""

    taken: Taken
    lease: AttemptLease
    context: AttemptContext
    _opened: ExitStack

    @property
    def claimed(self) -> Claimed:
        """The job and its fence."""
        return self.taken.claimed

    @property
    def cache_key(self) -> str:
        """What was asked."""
        return self.taken.cache_key

    @property
    def inputs_folder(self) -> Path:
        """Where copies of stored files lie while the attempt lasts."""
        return self.context.work_dir / "inputs"

    def item(self, services: Services) -> RunItem:
        """What the engine is given.

        Raises:
            EngineError: an input is gone, or the model is not known here.
            pydantic.ValidationError: the parameters are not the engine's any more.
        """
        engine = services.registry.engine(self.claimed.engine)
        return RunItem(
            model=model_of(services, self.claimed),
            params=engine.params_model.model_validate(self.claimed.params),
            files=self.taken.inputs.files(self.inputs_folder),
            context=self.context,
        )

    def close(self) -> None:
        """Renew the lease no more and delete the folder."""
        self._opened.close()


def begin(services: Services, taken: Taken, *, renewal: Renewal | None = None) -> Attempt:
    """Keep the lease of a claimed job alive and give it a folder.

    ``renewal`` is how, where the lease is not that of the job itself.
    """
    claimed = taken.claimed
    opened = ExitStack()
    folder = opened.enter_context(work_folder(work_root(services), claimed.job_id))
    lease = AttemptLease(
        services.relaxed,
        services.renewer,
        job_id=claimed.job_id,
        attempt=claimed.attempt,
        runtime_s=claimed.max_runtime_s or DEFAULT_RUNTIME_S,
        renewal=renewal,
    )
    opened.enter_context(lease)
    context = AttemptContext(
        lease,
        folder,
        embeddings=TenantEmbeddings(services, claimed.tenant_id),
        blocked_faces=services.blocked_faces,
    )
    return Attempt(taken, lease, context, opened)


def claim_one(services: Services, job_id: str, worker: str) -> Taken | None:
    """Take a job and find its inputs, in one transaction; None when it is not to be had."""
    with services.relaxed.begin() as session:
        claimed = claim(session, job_id=job_id, worker=worker, lease_s=LEASE_S)
        if claimed is None:
            return None
        return _taken(session, services, [claimed])[0]


def claim_these(
    session: Session, services: Services, job_ids: Sequence[str], worker: str
) -> list[Taken]:
    """Take those that are still free, in the caller's transaction."""
    claims = claim_many(session, job_ids=job_ids, worker=worker, lease_s=LEASE_S)
    return _taken(session, services, claims)


def _taken(session: Session, services: Services, claims: Sequence[Claimed]) -> list[Taken]:
    if not claims:
        return []
    inputs = locate(session, services, claims)
    keys = [key_of(*pair) for pair in zip(claims, inputs, strict=True)]
    places = {
        (claimed.tenant_id, key)
        for claimed, key in zip(claims, keys, strict=True)
        if claimed.use_cache
    }
    kept = find(session, wanted=places, lifetime=services.settings.retention.results)
    earlier = [
        kept.get((each.tenant_id, key)) if each.use_cache else None
        for each, key in zip(claims, keys, strict=True)
    ]
    begun = [_may_begin(services, *pair) for pair in zip(claims, earlier, strict=True)]
    _begin(session, services, [each for each, may in zip(claims, begun, strict=True) if may])
    return [Taken(*facts) for facts in zip(claims, inputs, keys, earlier, begun, strict=True)]


def _may_begin(services: Services, claimed: Claimed, kept: Kept | None) -> bool:
    """A copy needs no plan, nor do a tenant's own weights; any other model may."""
    if kept is not None or claimed.tenant_model_id is not None:
        return True
    return services.readiness.is_ready(claimed.engine, claimed.model)


def _begin(session: Session, services: Services, claims: Sequence[Claimed]) -> None:
    if claims:
        advance_many(session, claims=claims, to=JobStatus.PROCESSING)
        announce_starts(session, claims, links=services.links, now=datetime.now(UTC))


@cache
def _release() -> str:
    return version("pixelmeter")


def key_of(claimed: Claimed, inputs: Inputs) -> str:
    """What was asked, down to the bytes of the inputs."""
    return cache_key(
        engine=claimed.engine,
        model=claimed.model,
        params=claimed.params,
        inputs=[inputs.digests([inputs.target]), inputs.digests(inputs.sources)],
        release=_release(),
    )
