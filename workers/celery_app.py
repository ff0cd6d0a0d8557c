"""The Celery application: ``python -m celery -A workers.celery_app worker|beat``.

A composition root: it reads the settings once and wires the hooks of the worker's main process.
"""

from app.settings import load_settings
from workers.boot import connect_main_process
from workers.configuration import create_celery

app = create_celery(load_settings())
connect_main_process(app)
