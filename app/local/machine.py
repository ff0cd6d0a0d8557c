"""One run of the whole platform on this machine, from the first check to the last removed file."""

import logging
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from app.local.bootstrap import prepare_database
from app.local.child import ProcessSpec
from app.local.devfile import write_dev_file
from app.local.embedded_postgres import EmbeddedPostgres, find_postgres
from app.local.embedded_redis import EmbeddedRedis, find_redis
from app.local.layout import Layout
from app.local.options import UpOptions
from app.local.ports import LOOPBACK, free_port, require_free
from app.local.preflight import check_database, check_redis, check_storage, libpq_url
from app.local.processes import (
    Addresses,
    after_processes,
    child_environment,
    comfyui_process,
    core_processes,
    postgres_process,
    redis_process,
    side_processes,
)
from app.local.readiness import (
    api_answers,
    comfyui_answers,
    database_now,
    dispatcher_leads,
    gpu_workers_alive,
)
from app.local.state import PidFile, PlatformState, write_state
from app.local.supervisor import StopRequestedError, StopSignals, Supervisor, listen_for_stop
from app.settings import Settings

logger = logging.getLogger(__name__)

STORES_TIMEOUT_S = 60.0  # a database that recovers from a crash may take long
CORE_TIMEOUT_S = 120.0  # a cold start compiles every module once
WORKERS_GRACE_S = 35.0  # Celery's soft shutdown takes up to 25 s
STORES_GRACE_S = 20.0


@dataclass(frozen=True, slots=True)
class Stores:
    """The embedded servers of this run; None where the environment names one that runs."""

    postgres: EmbeddedPostgres | None
    redis: EmbeddedRedis | None


def run_machine(
    settings: Settings,
    options: UpOptions,
    *,
    inherited: Mapping[str, str],
    ready: Callable[[PlatformState], None],
) -> None:
    """Start everything, call ``ready`` once it is, and return after a clean stop.

    ``inherited`` is the environment that children get, with this run's addresses laid over it.

    Raises:
        LocalError: it cannot start; whatever had been started is gone again.
    """
    layout = Layout(settings.home)
    layout.create()
    pid_file = PidFile.acquire(layout)
    layout.state_file.unlink(missing_ok=True)  # of one that was killed
    try:
        if pid_file.stale_pid is not None:
            logger.warning(
                "a supervisor (pid %s) had not stopped cleanly; its pid file was replaced",
                pid_file.stale_pid,
            )
        with listen_for_stop() as asked:
            _Run(settings, options, layout=layout, inherited=inherited, asked=asked).live(ready)
    finally:
        layout.state_file.unlink(missing_ok=True)
        pid_file.release()


class _Run:
    def __init__(
        self,
        settings: Settings,
        options: UpOptions,
        *,
        layout: Layout,
        inherited: Mapping[str, str],
        asked: StopSignals,
    ) -> None:
        self._settings = settings
        self._options = options
        self._layout = layout
        self._phase = "starting"
        self._started_at = datetime.now(UTC)
        self._stores = _check(settings, options, layout)
        self._addresses = _addresses(settings, options, self._stores, inherited=inherited)
        chosen = {"PIXELMETER_ALLOW_ANONYMOUS": "true"} if options.allow_anonymous else {}
        self._environment = child_environment(
            settings, self._addresses, inherited={**inherited, **chosen}
        )
        self._supervisor = Supervisor(layout=layout, asked=asked, changed=self._write_state)

    def live(self, ready: Callable[[PlatformState], None]) -> None:
        try:
            self._start()
            self._phase = "ready"
            self._write_state()
            ready(self._state())
            self._supervisor.watch()
        except StopRequestedError:
            logger.info("asked to stop while starting")
        finally:
            self._stop()

    def _start(self) -> None:
        supervisor, stores, addresses = self._supervisor, self._stores, self._addresses
        environment = self._environment
        if stores.postgres is not None:
            stores.postgres.prepare()
            spec = postgres_process(stores.postgres, self._layout, environment=environment)
            supervisor.start([spec])
        if stores.redis is not None:
            stores.redis.prepare()
            supervisor.start([redis_process(stores.redis, self._layout, environment=environment)])
        self._wait_for_stores()
        tenant = prepare_database(addresses.database_url, self._settings, layout=self._layout)
        write_dev_file(self._layout, addresses, tenant)
        since = database_now(addresses.database_url)
        core = core_processes(
            self._layout,
            addresses,
            gpu_workers=self._options.gpu_workers,
            environment=environment,
            outside=self._settings.engine_folders,
        )
        supervisor.start(core)
        key = self._settings.comfyui_key or tenant.tenant_key
        comfyui = comfyui_process(self._layout, addresses, key=key, environment=environment)
        self._wait_for_core(since, comfyui)
        supervisor.start(side_processes(self._layout, addresses, environment=environment))

    def _wait_for_stores(self) -> None:
        postgres, redis = self._stores.postgres, self._stores.redis
        if postgres is not None:
            self._supervisor.wait_until(
                postgres.is_ready, what="PostgreSQL", timeout_s=STORES_TIMEOUT_S
            )
            postgres.create_database()
        if redis is not None:
            self._supervisor.wait_until(redis.is_ready, what="Redis", timeout_s=STORES_TIMEOUT_S)

    def _wait_for_core(self, since: datetime, comfyui: ProcessSpec) -> None:
        port, database_url = self._addresses.port, self._addresses.database_url
        wait = self._supervisor.wait_until
        wait(lambda: api_answers(port), what="The API", timeout_s=CORE_TIMEOUT_S)
        # The GPU worker now imports once more in its pool process; another core is free.
        after = after_processes(self._layout, environment=self._environment)
        self._supervisor.start((*after, comfyui))
        wait(
            lambda: dispatcher_leads(database_url), what="The dispatcher", timeout_s=CORE_TIMEOUT_S
        )
        wait(
            lambda: gpu_workers_alive(database_url, since=since) >= self._options.gpu_workers,
            what="The GPU worker",
            timeout_s=CORE_TIMEOUT_S,
        )
        comfyui_port = self._addresses.comfyui_port
        wait(
            lambda: comfyui_answers(comfyui_port),
            what="The port for clients of ComfyUI",
            timeout_s=CORE_TIMEOUT_S,
        )

    def _stop(self) -> None:
        self._phase = "stopping"
        stores = {"postgres", "redis"}
        workers = [name for name in self._supervisor.names if name not in stores]
        self._supervisor.stop(workers, grace_s=WORKERS_GRACE_S)
        self._supervisor.stop(sorted(stores), grace_s=STORES_GRACE_S)
        if self._stores.postgres is not None:
            self._stores.postgres.remove_socket()
        if self._stores.redis is not None:
            self._stores.redis.remove_socket()

    def _state(self) -> PlatformState:
        return PlatformState(
            pid=os.getpid(),
            phase=self._phase,
            started_at=self._started_at.isoformat(),
            base_url=self._addresses.base_url,
            database_url=self._addresses.database_url,
            redis_url=self._addresses.redis_url,
            storage_url=self._addresses.storage_url,
            comfyui_url=self._addresses.comfyui_url,
            outbound_allow=sorted(self._settings.outbound_allow),
            processes=self._supervisor.states(),
        )

    def _write_state(self) -> None:
        write_state(self._layout, self._state())


def _check(settings: Settings, options: UpOptions, layout: Layout) -> Stores:
    require_free(options.port, option="--port")
    require_free(options.comfyui_port, option="--comfyui-port")
    check_storage(settings.storage_url, home=settings.home)
    if settings.database_url is not None:
        check_database(libpq_url(settings.database_url))
    if settings.redis_url is not None:
        check_redis(settings.redis_url)
    return Stores(
        postgres=find_postgres(layout.postgres) if settings.database_url is None else None,
        redis=find_redis(layout.redis) if settings.redis_url is None else None,
    )


def _addresses(
    settings: Settings, options: UpOptions, stores: Stores, *, inherited: Mapping[str, str]
) -> Addresses:
    # PIXELMETER_URL names a public address in front of us; links use it.
    public = inherited.get("PIXELMETER_URL")
    if stores.postgres is not None:
        database_url = stores.postgres.url()
    else:
        database_url = libpq_url(settings.require_database_url())
    redis_url = stores.redis.url if stores.redis else settings.require_redis_url()
    return Addresses(
        port=options.port,
        base_url=public.rstrip("/") if public else f"http://{LOOPBACK}:{options.port}",
        database_url=database_url,
        redis_url=redis_url,
        storage_url=settings.storage_url,
        flower_port=free_port(),
        flower_password=secrets.token_urlsafe(18),
        comfyui_port=options.comfyui_port,
    )
