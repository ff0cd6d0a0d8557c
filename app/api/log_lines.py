"""Log lines: one JSON object each, UTC, with the request id and without secrets."""

import json
import logging
import re
from datetime import UTC, datetime
from typing import Any

from flask import g, has_request_context

SECRETS = re.compile(
    r"pm_live_[A-Za-z0-9_]+|whsec_[A-Za-z0-9+/=_-]+|(?i:bearer)\s+[^\s\"']+|(?<=[?&]sig=)[^&\s\"']+"
)


def redact(text: str) -> str:
    """Replace API keys, webhook secrets, bearer tokens and link signatures."""
    return SECRETS.sub("[redacted]", text)


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON; a stack is one string inside it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line without a newline at its end."""
        line: dict[str, Any] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": redact(record.getMessage()),
            "process": record.process,
        }
        if has_request_context() and "request_id" in g:
            line["request_id"] = g.request_id
        if record.exc_info:
            line["stack"] = redact(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False)


def logging_config(level: str = "INFO") -> dict[str, Any]:
    """A ``logging.config.dictConfig`` document: everything to stderr as JSON lines."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": "app.api.log_lines.JsonLines"}},
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "stream": "ext://sys.stderr",
                "formatter": "json",
            }
        },
        "root": {"level": level, "handlers": ["stderr"]},
        "loggers": {
            "gunicorn.error": {"level": level, "handlers": [], "propagate": True},
            "gunicorn.access": {"level": "WARNING", "handlers": [], "propagate": True},
        },
    }
