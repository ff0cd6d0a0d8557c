"""Which API the command line talks to, and with which key."""

from app.cli.context import Context
from app.client.client import Client
from app.client.exchange import Exchange
from app.client.operators import Operator
from app.local.state import read_json
from app.settings import MissingSettingError, environment


def open_client(context: Context) -> Client:
    """A client of the API that the environment names, else of the one in dev.json.

    The key in dev.json is only ever sent to the address in dev.json.

    Raises:
        MissingSettingError: there is no key for that address.
    """
    base_url, own_key = _address(context, "tenant_key")
    api_key = context.settings.api_key or own_key
    if api_key is None:
        raise _no_key(base_url, "PIXELMETER_API_KEY")
    return Client.connect(base_url, api_key)


def open_operator(context: Context) -> Operator:
    """The same for an operator: PIXELMETER_ADMIN_KEY, else the first admin's key in dev.json.

    Raises:
        MissingSettingError: there is no key for that address.
    """
    base_url, own_key = _address(context, "admin_key")
    api_key = context.settings.admin_key or own_key
    if api_key is None:
        raise _no_key(base_url, "PIXELMETER_ADMIN_KEY")
    return Operator(Exchange(base_url, api_key))


def _address(context: Context, key: str) -> tuple[str, str | None]:
    """The API's address, and the key in dev.json if that file is about this address."""
    known = read_json(context.layout.dev_file) or {}
    named = environment().get("PIXELMETER_URL", "").rstrip("/")
    base_url = named or known.get("base_url") or context.settings.base_url
    return base_url, known.get(key) if base_url == known.get("base_url") else None


def _no_key(base_url: str, name: str) -> MissingSettingError:
    message = (
        f"There is no API key for {base_url}. Set {name}=pm_live_..., "
        "or start a platform of your own with `pixelmeter up --detach`."
    )
    return MissingSettingError(message)
