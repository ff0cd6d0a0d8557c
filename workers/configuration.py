"""How Celery and kombu are set up. Pure: settings in, an application out; connects to nothing.

The options were tested together (late acknowledgement, visibility, prefetch, spawn): changing one
means testing all of them again.
"""

from typing import Any
from urllib.parse import parse_qs, urlsplit

from celery import Celery

from app.settings import Settings
from workers.beat import SCHEDULE
from workers.routing import PRIORITY_STEPS, ROUTES, TASK_MODULES

VISIBILITY_TIMEOUT_S = 90  # short, because the lease thread keeps running messages invisible

TRANSPORT_OPTIONS: dict[str, Any] = {
    "visibility_timeout": VISIBILITY_TIMEOUT_S,
    "unacked_restore_interval": 5,
    "unacked_restore_throttle": 1,
    "priority_steps": list(PRIORITY_STEPS),
    "sep": ":",
    "queue_order_strategy": "priority",
    "socket_keepalive": True,
    "socket_timeout": 30,
    "socket_connect_timeout": 3,
    "health_check_interval": 25,
}


def broker_url(redis_url: str) -> str:
    """Translate a Redis address into kombu's form.

    ``unix:///path/redis.sock?db=0`` becomes ``redis+socket:///path/redis.sock?virtual_host=0``;
    ``redis://`` and ``rediss://`` addresses stay as they are.
    """
    parts = urlsplit(redis_url)
    if parts.scheme != "unix":
        return redis_url
    database = parse_qs(parts.query).get("db", ["0"])[0]
    return f"redis+socket://{parts.path}?virtual_host={database}"


def create_celery(settings: Settings) -> Celery:
    """Build the application for the given settings."""
    celery = Celery("pixelmeter", include=list(TASK_MODULES))
    celery.conf.update(
        broker_url=broker_url(settings.require_redis_url()),
        broker_transport_options=TRANSPORT_OPTIONS,
        visibility_timeout=VISIBILITY_TIMEOUT_S,
        result_backend_transport_options={"visibility_timeout": VISIBILITY_TIMEOUT_S},
        # A broker that is away is waited for, at start and later, for as long as it takes.
        broker_connection_retry=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        task_acks_late=True,
        task_reject_on_worker_lost=False,
        task_retry_on_worker_lost=True,
        task_ignore_result=True,
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        worker_pool_start_method="spawn",
        worker_concurrency=1,
        worker_soft_shutdown_timeout=25,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        # A spawned child imports everything anew; on a busy machine that takes seconds.
        worker_proc_alive_timeout=60,
        task_serializer="json",
        result_serializer="json",
        accept_content=["json"],
        result_accept_content=["json"],
        task_routes=ROUTES,
        task_create_missing_queues=True,
        beat_schedule=SCHEDULE,
        beat_schedule_filename=str(settings.home / "beat-schedule"),
        timezone="UTC",
        worker_hijack_root_logger=True,
        worker_redirect_stdouts=False,
    )
    return celery
