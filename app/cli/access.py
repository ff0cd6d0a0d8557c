"""Which API the command line talks to, and with which key."""

from app.cli.context import Context
from app.client.client import Client
from app.local.state import read_json
from app.settings import MissingSettingError, environment


def open_client(context: Context) -> Client:
    """A client of the API that the environment names, else of the one in dev.json.

    The key in dev.json is only ever sent to the address in dev.json.

    Raises:
        MissingSettingError: there is no key for that address.
    """
    known = read_json(context.layout.dev_file) or {}
    named = environment().get("PIXELMETER_URL", "").rstrip("/")
    base_url = named or known.get("base_url") or context.settings.base_url
    own_key = known.get("tenant_key") if base_url == known.get("base_url") else None
    api_key = context.settings.api_key or own_key
    if api_key is None:
        message = (
            f"There is no API key for {base_url}. Set PIXELMETER_API_KEY=pm_live_..., "
            "or start a platform of your own with `pixelmeter up --detach`."
        )
        raise MissingSettingError(message)
    return Client.connect(base_url, api_key)
