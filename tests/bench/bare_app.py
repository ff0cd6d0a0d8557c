"""The yardstick: a bare Flask route that reads JSON, does one INSERT and one commit.

One connection per thread and no pool, so nothing but Flask and PostgreSQL is measured.
"""

import json
import os
import threading
import uuid
from types import SimpleNamespace

import psycopg
from flask import Flask, request

from app.api.services import EXTENSION

TABLE = (
    "CREATE TABLE IF NOT EXISTS bare_job (id uuid PRIMARY KEY, body jsonb NOT NULL,"
    " status text NOT NULL DEFAULT 'queued', created_at timestamptz NOT NULL DEFAULT now())"
)


def build() -> Flask:
    """Make the app; the database is named by BENCH_DSN."""
    app = Flask(__name__)
    # The settings of gunicorn are those of the product, whose hook sets something there.
    app.extensions[EXTENSION] = SimpleNamespace(streams=SimpleNamespace())
    own = threading.local()
    dsn = os.environ["BENCH_DSN"]

    def connection() -> psycopg.Connection:
        if not hasattr(own, "connection"):
            own.connection = psycopg.connect(dsn)
        return own.connection

    @app.post("/bare")
    def bare() -> tuple[dict[str, str], int]:
        body = json.dumps(request.get_json())
        job = uuid.uuid4()
        database = connection()
        database.execute("INSERT INTO bare_job (id, body) VALUES (%s, %s)", (job, body))
        database.commit()
        return {"id": job.hex, "status": "queued"}, 202

    return app
