"""``python -m app.comfyui [--host 127.0.0.1] [--port 8188]``: serve the port until stopped."""

import argparse
import logging
import sys

from aiohttp import web

from app.comfyui.port import Port, open_port
from app.comfyui.server import create_app
from app.errors import ProblemError
from app.local.layout import Layout
from app.local.state import read_json
from app.settings import Settings, load_settings

LOOPBACK = "127.0.0.1"
PORT = 8188

logger = logging.getLogger("pixelmeter.comfyui")


def main() -> int:
    """Read the settings, check the key, serve."""
    parser = argparse.ArgumentParser(prog="python -m app.comfyui", description=__doc__)
    parser.add_argument("--host", default=LOOPBACK, help="whoever reaches it, spends the tokens")
    parser.add_argument("--port", type=int, default=PORT)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    settings = load_settings()
    key = settings.comfyui_key or _demo_key(settings)
    if key is None:
        sys.exit(
            "PIXELMETER_COMFYUI_KEY is not set: name the API key whose jobs the prompts become, "
            "or start the port with `pixelmeter up`."
        )
    port = open_port(settings, key=key)
    _say_whose(port)
    web.run_app(create_app(port), host=options.host, port=options.port, print=None, access_log=None)
    return 0


def _say_whose(port: Port) -> None:
    """A key that is refused keeps nothing from starting: every request is told why."""
    try:
        with port.work() as (_, caller):
            logger.info("prompts become jobs of %s", caller.tenant_id)
    except ProblemError as error:
        logger.error("the key of this port is refused: %s", error.detail)  # noqa: TRY400 - no stack


def _demo_key(settings: Settings) -> str | None:
    """The key of this machine's demo tenant."""
    known = read_json(Layout(settings.home).dev_file) or {}
    key = known.get("tenant_key")
    return None if key is None else str(key)


if __name__ == "__main__":
    sys.exit(main())
