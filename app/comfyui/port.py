"""What the handlers of the port work with, built once."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import BinaryIO

from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from app.catalog.service import Catalog
from app.catalog.shelf import CardShelf
from app.db import open_engine, session_factory
from app.errors import ForbiddenError, InvalidRequestError
from app.files.intake import Intake, IntakeDesk
from app.files.prober import Prober
from app.jobs.bell import JobBell
from app.limits.notices import tell_of_refusal
from app.secret_box import SecretBox, open_secret_box
from app.settings import Settings
from app.storage import Storage, open_storage
from app.tenants.service import Principal, authenticate
from billing.caps import CapReachedError
from engines.media.limits import MediaLimits
from engines.registry import open_registry

THREADS = 8  # that talk to the database, each with a connection


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose the port is."""

    principal: Principal
    tenant_id: str


@dataclass(frozen=True, slots=True)
class Port:
    """The services of one port; every call of it blocks and belongs into a thread."""

    key: str  # whose jobs the prompts become
    engine: Engine
    sessions: sessionmaker[Session]
    storage: Storage
    box: SecretBox
    catalog: Catalog
    prober: Prober
    desk: IntakeDesk
    bell: JobBell
    max_upload_bytes: int

    def caller(self, session: Session, *, now: datetime) -> Caller:
        """Who the port works for; asked anew each time, so that a revoked key ends at once.

        Raises:
            AuthenticationError: the key is unknown, revoked or over.
            ForbiddenError: it is an admin's.
        """
        principal = authenticate(session, self.key, now)
        if principal.tenant_id is None:
            detail = "The port needs a tenant's key; an admin key belongs to no tenant."
            raise ForbiddenError(detail, code="tenant_key_required")
        return Caller(principal, principal.tenant_id)

    @contextmanager
    def work(self) -> Iterator[tuple[Session, Caller]]:
        """One transaction for the port's tenant."""
        with self.sessions.begin() as session:
            yield session, self.caller(session, now=utc_now())

    @contextmanager
    def intake(self) -> Iterator[tuple[Session, Caller, Intake]]:
        """One transaction that may take in files and submit jobs; a refusal leaves nothing."""
        now = utc_now()
        with self.sessions() as session:
            caller = self.caller(session, now=now)
            session.rollback()
            try:
                with self.desk.open(session, tenant_id=caller.tenant_id, now=now) as intake:
                    yield session, caller, intake
                    session.commit()
            except Exception as error:
                session.rollback()
                self._tell_of_cap(error, caller, now=now)
                raise

    def _tell_of_cap(self, error: Exception, caller: Caller, *, now: datetime) -> None:
        """The owner of a cap that refused hears of it, although the refused work is gone."""
        refusal = error if isinstance(error, CapReachedError) else error.__cause__
        if isinstance(refusal, CapReachedError):
            with self.sessions.begin() as session:
                tell_of_refusal(session, tenant_id=caller.tenant_id, cap=refusal.cap, at=now)

    def close(self) -> None:
        """End threads, children and connections."""
        self.bell.close()
        self.prober.close()
        self.engine.dispose()


def utc_now() -> datetime:
    """The clock of the handlers; below them it is passed in."""
    return datetime.now(UTC)


def open_port(settings: Settings, *, key: str) -> Port:
    """Build the services from the settings."""
    engine = open_engine(settings.require_database_url(), pool_size=THREADS)
    limits = MediaLimits(
        max_image_pixels=settings.max_image_pixels,
        max_scan_pixels=settings.max_scan_pixels,
        max_video_duration_s=settings.max_video_duration_s,
    )
    storage = open_storage(
        settings.storage_url, home=settings.home, cache_bytes=settings.storage_cache_bytes
    )
    prober = Prober(limits=limits)
    registry = open_registry(
        store=settings.home / "models",
        mirror=settings.model_mirror,
        limits=limits,
        outside=settings.engine_folders,
    )
    return Port(
        key=key,
        engine=engine,
        sessions=session_factory(engine),
        storage=storage,
        box=open_secret_box(secret_key=settings.secret_key, home=settings.home),
        catalog=Catalog(registry, CardShelf()),
        prober=prober,
        desk=IntakeDesk(
            storage=storage,
            probe=prober,
            fetch=_no_addresses,
            max_bytes=settings.max_upload_bytes,
            keep=settings.retention.inputs,
        ),
        bell=JobBell(engine),
        max_upload_bytes=settings.max_upload_bytes,
    )


def _no_addresses(url: str) -> BinaryIO:
    detail = f"Pictures are uploaded here; {url[:80]} is not fetched."
    raise InvalidRequestError(detail, code="url_not_allowed")
