"""How gunicorn serves the API: ``python -m gunicorn -c python:app.api.gunicorn_conf``.

Flags on the command line win over this file (``--bind``, ``--workers``). Two worker processes of
eight threads each for requests, and one more for each event stream they may have open. A waiting
request (``Prefer: wait``) takes a thread too, so their number is capped in ``app.api.waiting``.
"""

from typing import Any

from app.api.log_lines import logging_config
from app.api.services import EXTENSION, Services
from app.api.streaming import STREAMS_MAX

wsgi_app = "app.api.wsgi:build()"
bind = ["127.0.0.1:8000"]
workers = 2
worker_class = "gthread"
threads = 8 + STREAMS_MAX
keepalive = 30  # s
timeout = 120  # s without a sign of life from the worker's main thread
graceful_timeout = 30  # s for running requests after SIGTERM
preload_app = False  # connections, threads and the prober's child must start after the fork

# What one request line and its headers may be; more is 414 or 431 before any of our code runs.
limit_request_line = 4094
limit_request_fields = 100
limit_request_field_size = 8190

# A proxy in front must be named here, otherwise its X-Forwarded-* headers are not believed.
forwarded_allow_ips = "127.0.0.1,::1"
secure_scheme_headers = {"X-FORWARDED-PROTO": "https"}

accesslog = None
errorlog = "-"
logconfig_dict = logging_config()


def post_worker_init(worker: Any) -> None:  # noqa: ANN401 - gunicorn has no types
    """Let event streams end when the worker is told to, instead of holding it up."""
    kit: Services = worker.wsgi.extensions[EXTENSION]
    kit.streams.is_serving = lambda: bool(worker.alive)
