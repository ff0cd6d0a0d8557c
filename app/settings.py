"""Configuration: the environment is read once, here, into one frozen value.

Only composition roots call ``load_settings`` (``app.api.create_app``, ``app.cli``,
``workers.celery_app``, ``alembic/env.py``); everything below receives plain values.
Every setting is told in README.md; a test compares the two.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from urllib.parse import urlsplit

from app.files.retention import DEFAULT, Retention

Network = IPv4Network | IPv6Network
PRODUCER_LENGTH_MAX = 128
LOOPBACK: tuple[Network, ...] = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


class MissingSettingError(Exception):
    """Raised when a process needs a setting that the environment does not give."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment says; names in README.md."""

    home: Path  # state of this machine: databases, logs, files, models
    database_url: str | None  # None: the embedded PostgreSQL of `pixelmeter up`
    redis_url: str | None  # None: the embedded Redis of `pixelmeter up`
    storage_url: str  # file:///absolute/folder or s3://bucket/prefix
    model_mirror: str | None  # folder or URL that holds the weights
    engine_folders: tuple[Path, ...]  # engines outside this package
    outbound_allow: frozenset[str]  # private hosts that webhooks and URL inputs may reach
    base_url: str  # how clients reach the API; prefixes links
    secret_key: str | None  # signs links, encrypts secrets; None: PIXELMETER_HOME/secret.key
    max_upload_bytes: int
    max_image_pixels: int
    max_scan_pixels: int
    max_video_duration_s: int
    test_media: Path | None
    retention: Retention = DEFAULT  # how long files live
    max_open_uploads: int = 100  # of one tenant
    max_open_upload_bytes: int = 20 * 1024**3  # of one tenant, at their full lengths
    storage_cache_bytes: int = 10 * 1024**3  # of this machine, for copies of remote objects
    api_key: str | None = None  # what the command line sends; None: the one in dev.json
    admin_key: str | None = None  # the same for `pixelmeter admin`
    comfyui_key: str | None = None  # whose jobs the ComfyUI port sends; None: the demo tenant's
    balance_cache_s: int = 0  # how long a shown balance may be kept in Redis; 0: not at all
    clickhouse_url: str | None = None  # where usage is copied to; None: nowhere
    proxy_hops: int = 0  # proxies of ours in front of the API; 0 believes no X-Forwarded-For
    recharge_allow: tuple[Network, ...] = LOOPBACK  # where operators may recharge from
    recharge_alone_tokens: int = 100_000  # a larger recharge needs a second operator
    recharge_alone_daily_tokens: int = 1_000_000  # so does what one operator gives in a day
    recharge_per_minute: int = 60  # of one operator
    runner: str | None = None  # what executes networks; None: the first that can
    runner_fallback: bool = False  # go on with the next one where it cannot
    tf32: bool = False  # let GPUs round fp32 factors: faster, and not the reference's results
    conv_search: str = "HEURISTIC"  # how ONNX Runtime's CUDA provider chooses convolutions
    openvino_precision: str = "f32"
    plan_build_s: int = 1200  # a TensorRT plan that is not built by then is given up
    model_memory_bytes: int = 0  # what loaded networks may take; 0: half of the machine
    allow_anonymous: bool = False  # let face-swap clients of this machine call without a key
    content_producer: str = "Pixelmeter"  # who is named inside results as their maker
    warm_models: tuple[str, ...] = ()  # engine:model, loaded when a worker starts and kept
    segment_s: int = 40  # compute time of a segment of a long video; 0: videos are never cut
    work_disk_bytes: int = 0  # what segments may take of a node's disk; 0: most of what is free

    def require_database_url(self) -> str:
        """The database address, or a sentence that says how to get one."""
        return _require(self.database_url, "DATABASE_URL", "postgresql://user:pass@host/name")

    def require_redis_url(self) -> str:
        """The broker address, or a sentence that says how to get one."""
        return _require(self.redis_url, "REDIS_URL", "redis://127.0.0.1:6379/0")


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the environment (or the given mapping) into a frozen ``Settings``."""
    env = os.environ if environ is None else environ
    home = Path(env.get("PIXELMETER_HOME", ".pixelmeter")).resolve()
    test_media = env.get("PIXELMETER_TEST_MEDIA")
    return Settings(
        home=home,
        database_url=env.get("DATABASE_URL") or None,
        redis_url=env.get("REDIS_URL") or None,
        storage_url=env.get("STORAGE_URL") or f"file://{home / 'files'}",
        model_mirror=env.get("PIXELMETER_MODEL_MIRROR") or None,
        engine_folders=_folders(env.get("PIXELMETER_ENGINES", "")),
        outbound_allow=_hosts(env.get("PIXELMETER_OUTBOUND_ALLOW", "")),
        base_url=env.get("PIXELMETER_URL", "http://127.0.0.1:8000").rstrip("/"),
        secret_key=env.get("PIXELMETER_SECRET_KEY") or None,
        max_upload_bytes=_integer(env, "PIXELMETER_MAX_UPLOAD_BYTES", 512 * 1024 * 1024),
        max_image_pixels=_integer(env, "PIXELMETER_MAX_IMAGE_PIXELS", 25_000_000),
        max_scan_pixels=_integer(env, "PIXELMETER_MAX_SCAN_PIXELS", 100_000_000),
        max_video_duration_s=_integer(env, "PIXELMETER_MAX_VIDEO_DURATION_S", 1800),
        test_media=Path(test_media).resolve() if test_media else None,
        retention=_retention(env),
        max_open_uploads=_integer(env, "PIXELMETER_MAX_OPEN_UPLOADS", 100),
        max_open_upload_bytes=_integer(env, "PIXELMETER_MAX_OPEN_UPLOAD_BYTES", 20 * 1024**3),
        storage_cache_bytes=_integer(env, "PIXELMETER_STORAGE_CACHE_BYTES", 10 * 1024**3),
        api_key=env.get("PIXELMETER_API_KEY") or None,
        admin_key=env.get("PIXELMETER_ADMIN_KEY") or None,
        comfyui_key=env.get("PIXELMETER_COMFYUI_KEY") or None,
        balance_cache_s=_integer(env, "PIXELMETER_BALANCE_CACHE_S", 0),
        clickhouse_url=env.get("CLICKHOUSE_URL") or None,
        proxy_hops=_integer(env, "PIXELMETER_PROXY_HOPS", 0),
        recharge_allow=_networks(env, "PIXELMETER_RECHARGE_ALLOW") or LOOPBACK,
        recharge_alone_tokens=_integer(env, "PIXELMETER_RECHARGE_ALONE_TOKENS", 100_000),
        recharge_alone_daily_tokens=_integer(
            env, "PIXELMETER_RECHARGE_ALONE_DAILY_TOKENS", 1_000_000
        ),
        recharge_per_minute=_integer(env, "PIXELMETER_RECHARGE_PER_MINUTE", 60),
        runner=env.get("PIXELMETER_RUNNER") or None,
        runner_fallback=_is_set(env, "PIXELMETER_RUNNER_FALLBACK"),
        tf32=_is_set(env, "PIXELMETER_TF32"),
        conv_search=env.get("PIXELMETER_CONV_SEARCH") or "HEURISTIC",
        openvino_precision=env.get("PIXELMETER_OPENVINO_PRECISION") or "f32",
        plan_build_s=_integer(env, "PIXELMETER_PLAN_BUILD_S", 1200),
        model_memory_bytes=_integer(env, "PIXELMETER_MODEL_MEMORY_BYTES", 0),
        allow_anonymous=_allow_anonymous(env),
        content_producer=_producer(env.get("PIXELMETER_CONTENT_PRODUCER", "").strip()),
        warm_models=tuple(_listed(env.get("PIXELMETER_WARM_MODELS", ""))),
        segment_s=_integer(env, "PIXELMETER_SEGMENT_S", 40),
        work_disk_bytes=_integer(env, "PIXELMETER_WORK_DISK_BYTES", 0),
    )


def _retention(env: Mapping[str, str]) -> Retention:
    def hours(name: str, default: timedelta) -> timedelta:
        return timedelta(hours=_integer(env, name, int(default.total_seconds()) // 3600))

    return Retention(
        inputs=hours("PIXELMETER_KEEP_INPUTS_H", DEFAULT.inputs),
        outputs=hours("PIXELMETER_KEEP_OUTPUTS_H", DEFAULT.outputs),
        uploads=hours("PIXELMETER_KEEP_UPLOADS_H", DEFAULT.uploads),
        results=hours("PIXELMETER_KEEP_RESULTS_H", DEFAULT.results),
    )


def environment() -> dict[str, str]:
    """A copy of this process's whole environment, for the processes it starts."""
    return dict(os.environ)


def _hosts(text: str) -> frozenset[str]:
    return frozenset(host.lower() for host in _listed(text))


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _networks(env: Mapping[str, str], name: str) -> tuple[Network, ...]:
    try:
        return tuple(ip_network(text.strip()) for text in _listed(env.get(name, "")))
    except ValueError as error:
        message = f"{name} must be networks, for example {name}=10.0.0.0/8,::1/128; {error}"
        raise MissingSettingError(message) from None


def _folders(text: str) -> tuple[Path, ...]:
    return tuple(Path(part).resolve() for part in text.split(os.pathsep) if part)


def _allow_anonymous(env: Mapping[str, str]) -> bool:
    """Only where clients reach the API on this machine: elsewhere it would be open to anybody."""
    if not _is_set(env, "PIXELMETER_ALLOW_ANONYMOUS"):
        return False
    host = urlsplit(env.get("PIXELMETER_URL", "http://127.0.0.1:8000")).hostname
    if host not in {"127.0.0.1", "localhost", "::1"}:
        message = (
            "PIXELMETER_ALLOW_ANONYMOUS is for a development server that only this machine "
            f"reaches, and PIXELMETER_URL names {host}. Unset one of them."
        )
        raise MissingSettingError(message)
    return True


def _producer(name: str) -> str:
    if len(name) > PRODUCER_LENGTH_MAX or not name.isprintable():
        message = (
            "PIXELMETER_CONTENT_PRODUCER must be a name of at most "
            f"{PRODUCER_LENGTH_MAX} printable characters"
        )
        raise MissingSettingError(message)
    return name or "Pixelmeter"


def _is_set(env: Mapping[str, str], name: str) -> bool:
    return env.get(name, "").lower() in {"1", "true", "yes"}


def _integer(env: Mapping[str, str], name: str, default: int) -> int:
    text = env.get(name)
    if not text:
        return default
    try:
        return int(text)
    except ValueError:
        message = f"{name} must be a whole number, got {text!r}; for example {name}={default}"
        raise MissingSettingError(message) from None


def _require(value: str | None, name: str, example: str) -> str:
    if value is None:
        message = (
            f"{name} is not set. Set it (for example {name}={example}) "
            "or start everything on this machine with `pixelmeter up`."
        )
        raise MissingSettingError(message)
    return value
