"""How gunicorn serves the API: ``python -m gunicorn -c python:app.api.gunicorn_conf``.

Flags on the command line win over this file (``--bind``, ``--workers``). Two worker processes of
eight threads each; a waiting request (``Prefer: wait``) takes a thread, so their number is capped
in ``app.api.waiting``.
"""

from app.api.log_lines import logging_config

wsgi_app = "app.api.wsgi:build()"
bind = ["127.0.0.1:8000"]
workers = 2
worker_class = "gthread"
threads = 8
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
