"""The HTTP API: see README.md. Flask lives here and nowhere else."""

from app.api.factory import create_app

__all__ = ["create_app"]
