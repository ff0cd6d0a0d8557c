"""The processes of one machine, as a list: what runs, with which arguments and environment."""

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from app.local.child import ProcessSpec
from app.local.embedded_postgres import EmbeddedPostgres
from app.local.embedded_redis import EmbeddedRedis
from app.local.layout import CODE_ROOT, Layout
from app.local.ports import LOOPBACK
from app.settings import Settings
from engines.manifest import MANIFEST_FILE, load_manifest, shipped_folders
from engines.outside import outside_folders

BILLING_QUEUES = ("billing", "maintenance")
WEBHOOK_QUEUES = ("webhooks",)
FINALIZE_QUEUES = ("finalize",)  # long videos joined: a GPU worker does it between two runs

FLOWER_USER = "pixelmeter"


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where everything of this run listens."""

    port: int  # of the API
    base_url: str
    database_url: str
    redis_url: str
    storage_url: str
    flower_port: int
    flower_password: str
    comfyui_port: int

    @property
    def comfyui_url(self) -> str:
        """What clients of ComfyUI are given as its address."""
        return f"http://{LOOPBACK}:{self.comfyui_port}"

    @property
    def flower_url(self) -> str:
        """The queue monitor's pages."""
        return f"http://{LOOPBACK}:{self.flower_port}"


def gpu_queues(outside: Sequence[Path] = ()) -> tuple[str, ...]:
    """The queues of every engine, shipped and ``outside``, by name; no engine code is loaded."""
    folders = (*shipped_folders(), *outside_folders(outside))
    manifests = [load_manifest(folder / MANIFEST_FILE) for folder in folders]
    return tuple(f"engine.{manifest.name}" for manifest in manifests)


def every_queue(outside: Sequence[Path] = ()) -> tuple[str, ...]:
    """What all workers together consume."""
    return gpu_queues(outside) + FINALIZE_QUEUES + BILLING_QUEUES + WEBHOOK_QUEUES


def own_environment(settings: Settings, *, inherited: Mapping[str, str]) -> dict[str, str]:
    """The caller's environment with absolute folders: our processes start in the code's folder."""
    ours = {"PIXELMETER_HOME": str(settings.home)}
    mirror = settings.model_mirror
    if mirror is not None and "://" not in mirror:
        ours["PIXELMETER_MODEL_MIRROR"] = str(Path(mirror).resolve())
    if settings.engine_folders:
        ours["PIXELMETER_ENGINES"] = os.pathsep.join(map(str, settings.engine_folders))
    if settings.test_media is not None:
        ours["PIXELMETER_TEST_MEDIA"] = str(settings.test_media)
    return {**inherited, **ours}


def child_environment(
    settings: Settings, addresses: Addresses, *, inherited: Mapping[str, str]
) -> dict[str, str]:
    """The environment of our own processes: the caller's, with this run's addresses in it."""
    return {
        **own_environment(settings, inherited=inherited),
        "DATABASE_URL": addresses.database_url,
        "REDIS_URL": addresses.redis_url,
        "STORAGE_URL": addresses.storage_url,
        "PIXELMETER_URL": addresses.base_url,
        # SIGTERM lets a worker finish what it runs for a while, then hands it back.
        "REMAP_SIGTERM": "SIGQUIT",
        "PYTHONUNBUFFERED": "1",
    }


def postgres_process(
    server: EmbeddedPostgres, layout: Layout, *, environment: Mapping[str, str]
) -> ProcessSpec:
    """The embedded PostgreSQL; a fast shutdown ends sessions and leaves nothing to recover."""
    owner = server.owner
    return ProcessSpec(
        name="postgres",
        argv=server.command,
        log=layout.log_of("postgres"),
        cwd=server.data,
        environment=environment,
        stop_signal=signal.SIGINT,
        death_signal=signal.SIGQUIT,
        user=None if owner is None else owner.uid,
        group=None if owner is None else owner.gid,
    )


def redis_process(
    server: EmbeddedRedis, layout: Layout, *, environment: Mapping[str, str]
) -> ProcessSpec:
    """The embedded Redis."""
    return ProcessSpec(
        name="redis",
        argv=server.command,
        log=layout.log_of("redis"),
        cwd=server.data,
        environment=environment,
        death_signal=signal.SIGTERM,
    )


def core_processes(
    layout: Layout,
    addresses: Addresses,
    *,
    gpu_workers: int,
    environment: Mapping[str, str],
    outside: Sequence[Path] = (),
) -> tuple[ProcessSpec, ...]:
    """What accepts a job and runs it; the slowest to start come first."""
    queues = gpu_queues(outside) + FINALIZE_QUEUES
    gpu = [
        _celery_worker(f"gpu{number}", queues, layout, environment=environment)
        for number in range(1, gpu_workers + 1)
    ]
    api = _python(
        "api",
        (
            *("gunicorn", "-c", "python:app.api.gunicorn_conf"),
            # Its control socket would lie in the user's home, one for every platform.
            *("--bind", f"{LOOPBACK}:{addresses.port}", "--no-control-socket"),
        ),
        layout,
        environment=environment,
    )
    dispatcher = _python("dispatcher", ("workers.dispatcher",), layout, environment=environment)
    return (*gpu, api, dispatcher)


def after_processes(layout: Layout, *, environment: Mapping[str, str]) -> tuple[ProcessSpec, ...]:
    """What a job needs once it has run: its settlement and its webhooks."""
    return (
        _celery_worker("billing", BILLING_QUEUES, layout, environment=environment),
        _celery_worker("webhooks", WEBHOOK_QUEUES, layout, environment=environment),
    )


def comfyui_process(
    layout: Layout, addresses: Addresses, *, key: str, environment: Mapping[str, str]
) -> ProcessSpec:
    """The port for clients of ComfyUI; its prompts are jobs of ``key``'s tenant."""
    return _python(
        "comfyui",
        ("app.comfyui", f"--host={LOOPBACK}", f"--port={addresses.comfyui_port}"),
        layout,
        # By environment, not by argument: every user of the machine can read arguments.
        environment={**environment, "PIXELMETER_COMFYUI_KEY": key},
    )


def side_processes(
    layout: Layout, addresses: Addresses, *, environment: Mapping[str, str]
) -> tuple[ProcessSpec, ...]:
    """What jobs do not wait for: the clock of the sweepers and the queue monitor."""
    beat = _python(
        "beat",
        ("celery", "-A", "workers.celery_app", "beat", "--pidfile="),
        layout,
        environment=environment,
    )
    flower = _python(
        "flower",
        (
            *("celery", "-A", "workers.celery_app", "flower"),
            *(f"--address={LOOPBACK}", f"--port={addresses.flower_port}"),
        ),
        layout,
        # By environment, not by argument: every user of the machine can read arguments.
        environment={
            **environment,
            "FLOWER_BASIC_AUTH": f"{FLOWER_USER}:{addresses.flower_password}",
        },
    )
    # Flower handles SIGTERM itself; the remap is for workers.
    return beat, replace(flower, stop_signal=signal.SIGINT)


def _celery_worker(
    name: str,
    queues: tuple[str, ...],
    layout: Layout,
    *,
    environment: Mapping[str, str],
    pool: tuple[str, ...] = (),
) -> ProcessSpec:
    arguments = (
        *("celery", "-A", "workers.celery_app", "worker"),
        *("--queues", ",".join(queues), "--hostname", f"{name}@%h"),
        *pool,
        # No chatter between workers at start: it costs a second and tells us nothing.
        *("--without-gossip", "--without-mingle", "--loglevel", "INFO"),
    )
    return _python(name, arguments, layout, environment=environment)


def _python(
    name: str, module: tuple[str, ...], layout: Layout, *, environment: Mapping[str, str]
) -> ProcessSpec:
    # `-m` from the code's folder: our packages win over a stranger's `app` or `workers`.
    return ProcessSpec(
        name=name,
        argv=(sys.executable, "-m", *module),
        log=layout.log_of(name),
        cwd=CODE_ROOT,
        environment=environment,
    )
