"""What the handlers of one app work with, built once from the settings."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Semaphore
from typing import cast

from flask import Flask, current_app
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session

from app.api.auth import PrincipalCache
from app.api.database import engine_of, open_database, unit_of_work
from app.api.fetching import fetcher
from app.api.readiness import (
    Readiness,
    broker_check,
    database_check,
    migrations_check,
    storage_check,
)
from app.api.streaming import StreamPlaces
from app.api.waiting import SettledListener
from app.balance_cache import BalanceCache
from app.catalog.service import Catalog
from app.catalog.shelf import CardShelf
from app.files.intake import IntakeDesk
from app.files.links import LinkSigner, link_signer
from app.files.prober import Prober
from app.jobs.bell import JobBell
from app.outbound import OutboundPolicy
from app.secret_box import SecretBox, open_secret_box
from app.settings import Settings
from app.speeds.outlook import Outlook
from app.storage import Storage, open_storage
from app.tenants.demo import anonymous_caller
from app.tenants.service import Principal, authenticate
from app.uploads.service import UploadDesk
from engines.media.limits import MediaLimits
from engines.registry import open_registry

EXTENSION = "pixelmeter"
TRIALS_MAX = 2
ARRIVALS_MAX = 4  # half of a process's threads stay for everybody else


@dataclass(frozen=True, slots=True)
class Services:
    """Shared by all requests of one process; safe to build before a fork."""

    settings: Settings
    database: SQLAlchemy
    storage: Storage
    box: SecretBox
    links: LinkSigner
    catalog: Catalog
    prober: Prober
    desk: IntakeDesk
    uploads: UploadDesk
    outbound: OutboundPolicy
    principals: PrincipalCache
    settled: SettledListener
    streams: StreamPlaces
    bell: JobBell
    balances: BalanceCache
    outlook: Outlook
    readiness: Readiness
    arrivals: Semaphore  # of pieces of uploads: a slow client keeps its thread
    trials: Semaphore  # of tenants' weights: each may take a core for half a minute

    def anonymous(self) -> Principal:
        """Whoever calls without a key, where a development server lets them."""
        with self.unit_of_work() as session:
            return anonymous_caller(session)

    @contextmanager
    def unit_of_work(self) -> Iterator[Session]:
        """One transaction of the request at hand."""
        with unit_of_work(self.database.session) as session:
            yield session

    def close(self) -> None:
        """End the threads and children of this process."""
        self.settled.close()
        self.bell.close()
        self.balances.close()
        self.prober.close()


def services() -> Services:
    """The services of the app that handles the request at hand."""
    return cast(Services, current_app.extensions[EXTENSION])


def utc_now() -> datetime:
    """The clock of the handlers; below them it is always passed in."""
    return datetime.now(UTC)


def install_services(app: Flask, settings: Settings) -> Services:
    """Build the services and hang them on the app."""
    database_url = settings.require_database_url()
    database = open_database(app, database_url)
    storage = open_storage(
        settings.storage_url, home=settings.home, cache_bytes=settings.storage_cache_bytes
    )
    box = open_secret_box(secret_key=settings.secret_key, home=settings.home)
    limits = _limits(settings)
    prober = Prober(limits=limits)
    outbound = OutboundPolicy(allow_hosts=settings.outbound_allow)
    registry = open_registry(
        store=settings.home / "models",
        mirror=settings.model_mirror,
        limits=limits,
        outside=settings.engine_folders,
    )
    built = Services(
        settings=settings,
        database=database,
        storage=storage,
        box=box,
        links=link_signer(base_url=settings.base_url, box=box),
        catalog=Catalog(registry, CardShelf()),
        prober=prober,
        desk=IntakeDesk(
            storage=storage,
            probe=prober,
            fetch=fetcher(outbound, storage.scratch, max_bytes=settings.max_upload_bytes),
            max_bytes=settings.max_upload_bytes,
            keep=settings.retention.inputs,
        ),
        uploads=UploadDesk(
            transactions=lambda: unit_of_work(database.session),
            storage=storage,
            probe=prober,
            max_bytes=settings.max_upload_bytes,
            max_open=settings.max_open_uploads,
            max_open_bytes=settings.max_open_upload_bytes,
            lifetime=settings.retention.uploads,
            keep_inputs=settings.retention.inputs,
        ),
        outbound=outbound,
        principals=PrincipalCache(_looker_up(database)),
        settled=SettledListener(_libpq_url(database_url)),
        streams=StreamPlaces(),
        bell=JobBell(engine_of(app, database)),
        balances=BalanceCache(settings.redis_url, keep_s=settings.balance_cache_s),
        outlook=Outlook(),
        readiness=_readiness(app, database, storage, settings),
        arrivals=Semaphore(ARRIVALS_MAX),
        trials=Semaphore(TRIALS_MAX),
    )
    app.extensions[EXTENSION] = built
    return built


def _limits(settings: Settings) -> MediaLimits:
    return MediaLimits(
        max_image_pixels=settings.max_image_pixels,
        max_scan_pixels=settings.max_scan_pixels,
        max_video_duration_s=settings.max_video_duration_s,
    )


def _looker_up(database: SQLAlchemy) -> Callable[[str], Principal]:
    def look_up(key: str) -> Principal:
        with unit_of_work(database.session) as session:
            return authenticate(session, key, utc_now())

    return look_up


def _libpq_url(database_url: str) -> str:
    """The address without the name of SQLAlchemy's driver."""
    return make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)


def _readiness(app: Flask, database: SQLAlchemy, storage: Storage, settings: Settings) -> Readiness:
    engine = engine_of(app, database)
    return Readiness(
        needed={
            "database": database_check(engine),
            "migrations": migrations_check(engine),
            "storage": storage_check(storage),
        },
        wanted={"broker": broker_check(settings.redis_url)},
    )
