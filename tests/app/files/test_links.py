"""A link opens one file, for one tenant, for a quarter of an hour."""

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from app.errors import ForbiddenError
from app.files.links import LinkSigner, link_signer
from app.secret_box import SecretBox

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.fixture
def links() -> LinkSigner:
    return link_signer(base_url="https://api.example", box=SecretBox("a secret of enough length"))


def _parts(links: LinkSigner) -> dict[str, object]:
    url = urlsplit(links.content_url(file_id="file_1", tenant_id="ten_1", now=NOW))
    assert url.path == "/v1/files/file_1/content"
    query = parse_qs(url.query)
    return {
        "file_id": "file_1",
        "tenant_id": "ten_1",
        "method": "GET",
        "expires": int(query["exp"][0]),
        "signature": query["sig"][0],
        "now": NOW,
    }


def test_a_fresh_link_opens_and_head_is_as_good_as_get(links: LinkSigner) -> None:
    links.verify(**_parts(links))  # type: ignore[arg-type]
    links.verify(**{**_parts(links), "method": "HEAD"})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {"file_id": "file_2"},
        {"tenant_id": "ten_2"},
        {"method": "DELETE"},
        {"signature": "AAAA"},
        {"signature": ""},
        {"signature": "é"},
    ],
)
def test_a_changed_link_is_refused(links: LinkSigner, change: dict[str, object]) -> None:
    with pytest.raises(ForbiddenError) as refusal:
        links.verify(**{**_parts(links), **change})  # type: ignore[arg-type]
    assert refusal.value.code == "link_invalid"


def test_the_expiry_cannot_be_pushed_out(links: LinkSigner) -> None:
    parts = _parts(links)
    with pytest.raises(ForbiddenError):
        links.verify(**{**parts, "expires": int(str(parts["expires"])) + 1})  # type: ignore[arg-type]


def test_a_link_ends_after_a_quarter_of_an_hour(links: LinkSigner) -> None:
    parts = _parts(links)
    links.verify(**{**parts, "now": NOW + timedelta(minutes=14, seconds=59)})  # type: ignore[arg-type]
    with pytest.raises(ForbiddenError) as refusal:
        links.verify(**{**parts, "now": NOW + timedelta(minutes=15)})  # type: ignore[arg-type]
    assert refusal.value.code == "link_expired"


def test_another_installation_signs_differently(links: LinkSigner) -> None:
    other = link_signer(base_url="https://api.example", box=SecretBox("quite another secret key"))
    with pytest.raises(ForbiddenError):
        other.verify(**_parts(links))  # type: ignore[arg-type]
