"""What a worker process keeps open between tasks: pools, storage, engines, the way out.

Each part is opened at its first use and lives as long as the process: the billing worker never
loads an engine, the GPU worker never reads a certificate store.
"""

import threading
from functools import cached_property

from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from app.db import open_engine, session_factory
from app.files.links import LinkSigner, link_signer
from app.outbound import OutboundPolicy
from app.secret_box import SecretBox, open_secret_box
from app.settings import Settings, load_settings
from app.storage import Storage, open_storage
from engines.media.limits import MediaLimits
from engines.registry import Registry, open_registry

POOL_SIZE = 8  # as many as the webhook worker has threads; connections are opened when needed


class Services:
    """Everything the tasks of one process share."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def database(self) -> Engine:
        """The pool of connections."""
        return open_engine(self.settings.require_database_url(), pool_size=POOL_SIZE)

    @cached_property
    def sessions(self) -> sessionmaker[Session]:
        """Database sessions over one pool."""
        return session_factory(self.database)

    @cached_property
    def storage(self) -> Storage:
        """Where files live."""
        return open_storage(self.settings.storage_url)

    @cached_property
    def limits(self) -> MediaLimits:
        """How large media may be."""
        return MediaLimits(
            max_image_pixels=self.settings.max_image_pixels,
            max_video_duration_s=self.settings.max_video_duration_s,
        )

    @cached_property
    def registry(self) -> Registry:
        """Engines, models and what is loaded of them."""
        return open_registry(
            store=self.settings.home / "models",
            mirror=self.settings.model_mirror,
            limits=self.limits,
        )

    @cached_property
    def box(self) -> SecretBox:
        """Opens stored webhook secrets."""
        return open_secret_box(secret_key=self.settings.secret_key, home=self.settings.home)

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
        self.database.dispose()


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
