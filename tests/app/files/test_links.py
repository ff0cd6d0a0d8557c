"""A link opens one file, for one tenant, for as long as where it stands is read."""

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from app.errors import ForbiddenError
from app.files.links import (
    IN_ANSWERS,
    IN_EVENTS,
    LONGEST,
    LinkSigner,
    content_path,
    link_signer,
    sign,
)
from app.secret_box import SecretBox
from app.webhooks.schedule import DELIVERED_WITHIN

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def signer(lifetime: timedelta, secret: str = "a secret of enough length") -> LinkSigner:
    return link_signer(base_url="https://api.example", box=SecretBox(secret), lifetime=lifetime)


@pytest.fixture
def links() -> LinkSigner:
    return signer(IN_ANSWERS)


def _parts(links: LinkSigner, *, kept_for: timedelta = timedelta(days=7)) -> dict[str, object]:
    until = NOW + kept_for
    address = links.content_url(file_id="file_1", tenant_id="ten_1", now=NOW, kept_until=until)
    url = urlsplit(address)
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


def _opens_after(links: LinkSigner, parts: dict[str, object], age: timedelta) -> bool:
    try:
        links.verify(**{**parts, "now": NOW + age})  # type: ignore[arg-type]
    except ForbiddenError as refusal:
        return refusal.code != "link_expired"
    return True


def test_a_link_in_an_answer_ends_after_a_quarter_of_an_hour(links: LinkSigner) -> None:
    parts = _parts(links)
    assert _opens_after(links, parts, timedelta(minutes=14, seconds=59))
    assert not _opens_after(links, parts, timedelta(minutes=15))


def test_a_link_in_an_event_opens_a_day_after_the_last_attempt_to_deliver_it(
    links: LinkSigner,
) -> None:
    parts = _parts(signer(IN_EVENTS))
    a_day_later = DELIVERED_WITHIN + timedelta(days=1)
    assert _opens_after(links, parts, a_day_later - timedelta(seconds=1))
    assert not _opens_after(links, parts, a_day_later)


def test_no_link_outlives_its_file(links: LinkSigner) -> None:
    for lifetime in (IN_ANSWERS, IN_EVENTS):
        parts = _parts(signer(lifetime), kept_for=timedelta(minutes=10))
        assert _opens_after(links, parts, timedelta(minutes=9, seconds=59))
        assert not _opens_after(links, parts, timedelta(minutes=10))


def test_a_right_signature_for_longer_than_any_link_is_given_opens_nothing(
    links: LinkSigner,
) -> None:
    parts = _parts(links)
    expires = int((NOW + LONGEST + timedelta(hours=1)).timestamp())
    signature = sign(
        key=links.key,
        method="GET",
        path=content_path("file_1"),
        tenant_id="ten_1",
        expires=expires,
    )
    long = {**parts, "expires": expires, "signature": signature}
    assert not _opens_after(links, long, timedelta())
    assert _opens_after(links, long, timedelta(hours=1))


def test_another_installation_signs_differently(links: LinkSigner) -> None:
    other = signer(IN_ANSWERS, "quite another secret key")
    with pytest.raises(ForbiddenError):
        other.verify(**_parts(links))  # type: ignore[arg-type]
