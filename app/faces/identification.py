"""The face of a picture as the embedders here see it, found out by a process of its own.

The API loads no network: the child does, and is gone with what it saw.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import engines
from app.errors import InvalidRequestError, UnavailableError
from app.settings import Settings, environment

TIMEOUT_S: Final = 120.0


def identify_apart(settings: Settings, picture: Path) -> dict[str, list[float]]:
    """The vector of the face by the name of each embedder whose weights are on this machine.

    Raises:
        InvalidRequestError: no face, several, no picture, or nothing that tells persons apart.
        UnavailableError: the child did not answer.
    """
    options = ["--home", str(settings.home)]
    if settings.model_mirror is not None:
        options += ["--mirror", settings.model_mirror]
    try:
        done = subprocess.run(  # noqa: S603 - our own program, no shell
            [sys.executable, "-m", "engines", *options, "identify", str(picture)],
            cwd=Path(engines.__file__).parents[1],
            env=_plain_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        answer: dict[str, Any] = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        detail = "The face could not be looked at here. Send the request again."
        raise UnavailableError(detail, retry_after_s=5) from None
    if "error" in answer:
        raise InvalidRequestError(answer["error"]["detail"], code=answer["error"]["code"])
    vectors: dict[str, list[float]] = answer["vectors"]
    return vectors


def _plain_environment() -> dict[str, str]:
    """Without our settings: the child is told what it needs, and no address or secret."""
    return {
        name: value
        for name, value in environment().items()
        if not name.startswith("PIXELMETER_") and not name.endswith("_URL")
    }
