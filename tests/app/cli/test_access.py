import json

import pytest
from rich.console import Console

from app.cli.access import open_client, open_operator
from app.cli.context import Context
from app.settings import MissingSettingError, load_settings


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in ("PIXELMETER_URL", "PIXELMETER_API_KEY", "PIXELMETER_ADMIN_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIXELMETER_HOME", str(tmp_path))
    return tmp_path


def context() -> Context:
    return Context(settings=load_settings(), console=Console())


def write_dev(home):
    document = {
        "base_url": "http://127.0.0.1:8123",
        "tenant_key": "pm_live_dev",
        "admin_key": "pm_live_first",
    }
    (home / "dev.json").write_text(json.dumps(document))


def headers_and_address(client):
    http = client._exchange._http
    return http.headers["Authorization"], str(http.base_url)


def test_dev_json_gives_address_and_key(home):
    write_dev(home)
    with open_client(context()) as client:
        authorization, address = headers_and_address(client)
    assert authorization == "Bearer pm_live_dev"
    assert address.startswith("http://127.0.0.1:8123")


def test_the_environment_wins(home, monkeypatch):
    write_dev(home)
    monkeypatch.setenv("PIXELMETER_URL", "https://api.example.com/")
    monkeypatch.setenv("PIXELMETER_API_KEY", "pm_live_mine")
    with open_client(context()) as client:
        authorization, address = headers_and_address(client)
    assert authorization == "Bearer pm_live_mine"
    assert address.startswith("https://api.example.com")


def test_the_key_of_dev_json_is_never_sent_to_another_address(home, monkeypatch):
    write_dev(home)
    monkeypatch.setenv("PIXELMETER_URL", "https://api.example.com")
    with pytest.raises(MissingSettingError, match=r"no API key for https://api.example.com"):
        open_client(context())


def test_without_anything_the_way_out_is_told(home):
    with pytest.raises(MissingSettingError, match="PIXELMETER_API_KEY"):
        open_client(context())


def test_an_operators_key_is_another_one(home, monkeypatch):
    write_dev(home)
    with open_operator(context()) as operator:
        assert headers_and_address(operator)[0] == "Bearer pm_live_first"
    monkeypatch.setenv("PIXELMETER_ADMIN_KEY", "pm_live_bob")
    with open_operator(context()) as operator:
        assert headers_and_address(operator)[0] == "Bearer pm_live_bob"
    monkeypatch.delenv("PIXELMETER_ADMIN_KEY")
    monkeypatch.setenv("PIXELMETER_URL", "https://api.example.com/")
    with pytest.raises(MissingSettingError, match="PIXELMETER_ADMIN_KEY"):
        open_operator(context())
