"""A platform in miniature for worker tests: tenant, tokens, prices, files, real submits."""

import shutil
import time
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.batches import service as batches
from app.batches.opening import make_jobs
from app.batches.service import Order
from app.catalog.service import Catalog
from app.catalog.shelf import CardShelf
from app.estimates.pricing import price_together
from app.files.intake import IntakeDesk
from app.jobs.service import request_cancel, submit
from app.jobs.spec import JobRequest
from app.settings import Settings, load_settings
from app.storage import open_storage
from app.tenants.service import Principal, create_tenant
from billing.amounts import from_number
from billing.cards import publish_catalogue
from billing.grants import issue
from billing.reconcile import check
from engines.manifest import ModelVersion
from engines.many import run_alone
from engines.media.limits import MediaLimits
from engines.media.probe import probe
from engines.registry import Registry, open_registry
from engines.spec import (
    EngineResult,
    InputFiles,
    InputMedia,
    Outcome,
    OutputFile,
    RunContext,
    RunItem,
    UsageReport,
    Work,
)
from workers.services import Services

SECRET = "a secret of the worker tests"


def settings_of(home: Path, database_url: str, redis_url: str | None = None) -> Settings:
    environ = {
        "PIXELMETER_HOME": str(home),
        "DATABASE_URL": database_url,
        "PIXELMETER_SECRET_KEY": SECRET,
        "PIXELMETER_OUTBOUND_ALLOW": "127.0.0.1",
    }
    if redis_url is not None:
        environ["REDIS_URL"] = redis_url
    return load_settings(environ)


def environment_of(settings: Settings) -> dict[str, str]:
    """The same settings for a child process."""
    return {
        "PIXELMETER_HOME": str(settings.home),
        "DATABASE_URL": settings.database_url or "",
        "REDIS_URL": settings.redis_url or "",
        "PIXELMETER_SECRET_KEY": SECRET,
        "PIXELMETER_OUTBOUND_ALLOW": ",".join(settings.outbound_allow),
    }


class Platform:
    """One tenant with 10 000 tokens, and everything a customer can do about jobs."""

    def __init__(self, settings: Settings, sessions: sessionmaker[Session]) -> None:
        self.settings = settings
        self.sessions = sessions
        self.services = Services(settings)
        self.registry = open_registry(store=settings.home / "models")
        self.catalog = Catalog(self.registry, CardShelf())
        now = datetime.now(UTC)
        with sessions.begin() as session:
            publish_catalogue(session, now)
            tenant = create_tenant(
                session, name="workers", box=self.services.box, consent_mode="contract"
            )
            self.tenant = tenant.id
            issue(
                session,
                tenant=tenant.id,
                amount=from_number(10_000),
                kind="purchase",
                idem_key="test",
                actor="test",
                now=now,
            )
        self.caller = Principal(
            tenant_id=self.tenant,
            project_id=None,
            project=None,
            key_id="key_test",
            role="tenant",
            consent_mode="contract",
        )
        self._desk = IntakeDesk(
            storage=open_storage(settings.storage_url, home=settings.home),
            probe=lambda path: probe(path, MediaLimits()),
            fetch=lambda url: (_ for _ in ()).throw(AssertionError(url)),
            max_bytes=10_000_000,
        )
        self.file: str | None = None

    def upload(self, path: Path) -> str:
        with self.sessions() as session:
            now = datetime.now(UTC)
            with self._desk.open(session, tenant_id=self.tenant, now=now) as intake:
                with path.open("rb") as stream:
                    file = intake.store(stream, name=path.name)
                session.commit()
        self.file = file.id
        return file.id

    def submit(self, **fields: Any) -> str:
        """Submit a job for the last uploaded file; returns its id. It is computed anew."""
        body = {
            "cache": False,
            "engine": "detect",
            "model": "builtin",
            "input": {"target": {"file": self.file}},
            **fields,
        }
        now = datetime.now(UTC)
        with (
            self.sessions() as session,
            self._desk.open(session, tenant_id=self.tenant, now=now) as intake,
        ):
            submitted = submit(
                session,
                catalog=self.catalog,
                box=self.services.box,
                intake=intake,
                caller=self.caller,
                request=JobRequest.model_validate(body),
                now=now,
            )
            session.commit()
        return str(submitted.job["id"])

    def submit_batch(self, items: int, *, make: bool = True, **fields: Any) -> str:
        """Keep a batch of so many jobs for the last uploaded file, and make all of them or none."""
        body = {
            "cache": False,
            "engine": "detect",
            "model": "builtin",
            "input": {"target": {"file": self.file}},
        }
        request, now = JobRequest.model_validate(body), datetime.now(UTC)
        with (
            self.sessions.begin() as session,
            self._desk.open(session, tenant_id=self.tenant, now=now) as intake,
        ):
            good, bad = price_together(
                session,
                catalog=self.catalog,
                intake=intake,
                caller=self.caller,
                requests=[(index, request) for index in range(items)],
                now=now,
            )
            order = Order(total=items, items=good, bad=bad, priced_for=items, **fields)
            batch_id = batches.create(
                session, box=self.services.box, intake=intake, caller=self.caller, order=order
            )
            while make and make_jobs(session, batch_id=batch_id):
                pass
        return batch_id

    def cancel(self, job_id: str) -> None:
        with self.sessions.begin() as session:
            request_cancel(session, tenant_id=self.tenant, job_id=job_id)

    def job(self, job_id: str) -> dict[str, Any]:
        return self.row("SELECT * FROM job WHERE id = :id", id=job_id)

    def row(self, query: str, **values: Any) -> dict[str, Any]:
        with self.sessions() as session:
            return dict(session.execute(text(query), values).mappings().one())

    def scalar(self, query: str, **values: Any) -> Any:
        with self.sessions() as session:
            return session.execute(text(query), values).scalar_one()

    def change(self, statement: str, **values: Any) -> None:
        with self.sessions.begin() as session:
            session.execute(text(statement), values)

    def wait(self, job_id: str, *statuses: str, timeout_s: float = 30) -> dict[str, Any]:
        """Wait until the job has one of the statuses; settled ones also wait for settlement."""
        deadline = time.monotonic() + timeout_s
        while True:
            job = self.job(job_id)
            if job["status"] in statuses:
                return job
            assert time.monotonic() < deadline, f"{job_id} is {job['status']}, not {statuses}"
            time.sleep(0.02)

    def wait_settled(self, job_id: str, *, timeout_s: float = 30) -> dict[str, Any]:
        deadline = time.monotonic() + timeout_s
        while (job := self.job(job_id))["settled_at"] is None:
            assert time.monotonic() < deadline, f"{job_id} is {job['status']} and not settled"
            time.sleep(0.02)
        return job

    def reconcile(self) -> None:
        """The ledger has no finding."""
        with self.sessions() as session:
            assert check(session) == []


def measured(quantities: dict[str, float], *, media: str) -> UsageReport:
    """What the built-in detector would report of this work."""
    return UsageReport(
        work=Work(quantities, {"media": media, "model": "builtin"}),
        model="builtin@1",
        device="cpu:test",
        runner="opencv",
        provider="opencv",
        precision="none",
        stages_ms={"detect": 1.0},
        wall_ms=2.0,
        cold_start_ms=0.0,
        peak_memory_bytes=0,
    )


def _given(output: OutputFile, folder: Path) -> OutputFile:
    """A copy in the folder of the run, where every engine leaves its files."""
    return replace(output, path=Path(shutil.copy(output.path, folder)))


class FakeEngine:
    """Stands in for ``detect`` on the running side: does what the test tells it to."""

    def __init__(self, registry: Registry) -> None:
        real = registry.engine("detect")
        self.manifest = real.manifest
        self.params_model = real.params_model
        self.runs = 0
        self.outputs: tuple[OutputFile, ...] = ()
        self.behave: Any = lambda context: None

    def plan(self, model: ModelVersion, params: Any, media: InputMedia) -> Work:
        raise AssertionError("only the catalog plans")

    def run(
        self, model: ModelVersion, params: Any, files: InputFiles, context: RunContext
    ) -> EngineResult:
        self.runs += 1
        self.behave(context)
        return EngineResult(
            files=tuple(_given(output, context.work_dir) for output in self.outputs),
            data={"predictions": []},
            usage=measured({"images": 1.0, "input_pixels": 640.0 * 640}, media="image"),
        )


class FakeBatchEngine(FakeEngine):
    """The same, but it takes items together: up to ``ahead`` before it answers the first."""

    def __init__(self, registry: Registry, *, ahead: int = 4) -> None:
        super().__init__(registry)
        self.ahead = ahead
        self.batches: list[int] = []  # items of each call

    def batch_key(self, model: ModelVersion, params: Any, media: InputMedia) -> Hashable | None:
        return (model.id, params.size((640, 640)))

    def run_many(self, items: Iterable[RunItem]) -> Iterator[Outcome]:
        source = iter(items)
        self.batches.append(0)
        while group := list(islice(source, self.ahead)):
            self.batches[-1] += len(group)
            yield from [run_alone(self, item) for item in group]


class FakeRegistry:
    """A registry whose only engine is the fake one."""

    def __init__(self, registry: Registry, fake: FakeEngine | None = None) -> None:
        self._registry = registry
        self.fake = fake or FakeEngine(registry)

    def engine(self, name: str) -> FakeEngine:
        assert name == "detect"
        return self.fake

    def resolve(self, engine: str, model: str | None) -> ModelVersion:
        return self._registry.resolve(engine, model)

    def is_active(self, engine: str, model: ModelVersion) -> bool:
        return True


def with_home(settings: Settings, home: Path) -> Settings:
    return replace(settings, home=home, storage_url=f"file://{home / 'files'}")
