"""What gunicorn calls in each worker process, after the fork."""

from apiflask import APIFlask

from app.api.factory import create_app
from app.settings import load_settings


def build() -> APIFlask:
    """Read the environment and build this process's app."""
    return create_app(load_settings())
