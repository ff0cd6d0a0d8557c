"""What a worker process keeps open between tasks: pools, storage, engines, the way out.

Each part is opened at its first use and lives as long as the process: the billing worker never
loads an engine, the GPU worker never reads a certificate store.
"""

import threading
from functools import cached_property
from typing import NoReturn

from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from app.balance_cache import BalanceCache
from app.catalog.service import Catalog
from app.catalog.shelf import CardShelf
from app.db import open_engine, session_factory
from app.engine_room import open_engines, runner_opener
from app.files.intake import IntakeDesk
from app.files.links import LinkSigner, link_signer
from app.outbound import OutboundPolicy
from app.secret_box import SecretBox, open_secret_box
from app.settings import Settings, load_settings
from app.storage import Storage, open_storage
from engines.media.limits import MediaLimits
from engines.registry import Registry
from workers.attempt_lease import Renewer
from workers.blocked_faces import BlockedFaces
from workers.node_disk import NodeDisk
from workers.readiness import Readiness
from workers.retirement import Retirement

POOL_SIZE = 8  # as many as the webhook worker has threads; connections are opened when needed


class Services:
    """Everything the tasks of one process share."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._engines: list[Engine] = []

    @cached_property
    def sessions(self) -> sessionmaker[Session]:
        """Sessions whose commits are on disk: ends of jobs, money, webhooks.

        Connections are not asked whether they live; tasks repeat a transaction that found out.
        """
        return session_factory(self._open(relaxed_commit=False))

    @cached_property
    def relaxed(self) -> sessionmaker[Session]:
        """Sessions for claims, leases and progress.

        A server that crashes may forget the last of them. Then the job is free again, and the
        fence refuses whoever still works on it.
        """
        return session_factory(self._open(relaxed_commit=True))

    def _open(self, *, relaxed_commit: bool) -> Engine:
        engine = open_engine(
            self.settings.require_database_url(),
            pool_size=POOL_SIZE,
            pre_ping=False,
            relaxed_commit=relaxed_commit,
        )
        self._engines.append(engine)
        return engine

    @cached_property
    def renewer(self) -> Renewer:
        """Keeps the leases of this process alive."""
        renewer = Renewer()
        renewer.start()
        return renewer

    @cached_property
    def storage(self) -> Storage:
        """Where files live."""
        return open_storage(
            self.settings.storage_url,
            home=self.settings.home,
            cache_bytes=self.settings.storage_cache_bytes,
        )

    @cached_property
    def limits(self) -> MediaLimits:
        """How large media may be."""
        return MediaLimits(
            max_image_pixels=self.settings.max_image_pixels,
            max_scan_pixels=self.settings.max_scan_pixels,
            max_video_duration_s=self.settings.max_video_duration_s,
        )

    @cached_property
    def registry(self) -> Registry:
        """Engines, models and what is loaded of them."""
        return open_engines(self.settings, self.limits)

    @cached_property
    def catalog(self) -> Catalog:
        """What may be called and at what price."""
        return Catalog(self.registry, CardShelf())

    @cached_property
    def files_only(self) -> IntakeDesk:
        """Takes in requests whose inputs are files already."""
        return IntakeDesk(
            storage=self.storage,
            probe=_nothing_to_take_in,
            fetch=_nothing_to_take_in,
            max_bytes=self.settings.max_upload_bytes,
        )

    @cached_property
    def retirement(self) -> Retirement:
        """Lets go of networks whose model version was switched away."""
        return Retirement()

    @cached_property
    def readiness(self) -> Readiness:
        """Which models need no plan built before their jobs begin."""
        return Readiness(runner_opener(self.settings))

    @cached_property
    def node_disk(self) -> NodeDisk:
        """What the work of segments may take of this machine's disk."""
        return NodeDisk.measured(self.settings.home, setting_bytes=self.settings.work_disk_bytes)

    @cached_property
    def box(self) -> SecretBox:
        """Opens stored webhook secrets, keys of embeddings and blocked faces."""
        return open_secret_box(secret_key=self.settings.secret_key, home=self.settings.home)

    @cached_property
    def blocked_faces(self) -> BlockedFaces:
        """Refuses source faces that nobody may use."""
        return BlockedFaces(self.relaxed, self.box)

    @cached_property
    def balances(self) -> BalanceCache:
        """Balances as they are shown."""
        return BalanceCache(self.settings.redis_url, keep_s=self.settings.balance_cache_s)

    @cached_property
    def links(self) -> LinkSigner:
        """Signs the links inside webhook snapshots."""
        return link_signer(base_url=self.settings.base_url, box=self.box)

    @cached_property
    def outbound(self) -> OutboundPolicy:
        """Whom webhooks may reach."""
        return OutboundPolicy(allow_hosts=self.settings.outbound_allow)

    def close(self) -> None:
        """Close the connections; the services may not be used afterwards."""
        if "renewer" in self.__dict__:
            self.renewer.end()
            self.renewer.join()
        if "balances" in self.__dict__:
            self.balances.close()
        for engine in self._engines:
            engine.dispose()


def _nothing_to_take_in(what: object) -> NoReturn:
    raise AssertionError(f"{what} should have been a file of the tenant's")


class ProcessServices:
    """Hands every thread of the process the same services."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._services: Services | None = None

    def get(self) -> Services:
        """The services, made from the environment at the first call."""
        with self._lock:
            if self._services is None:
                self._services = Services(load_settings())
            return self._services


# The composition root of a worker process: Celery calls tasks without arguments of ours.
process_services = ProcessServices()
