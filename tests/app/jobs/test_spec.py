"""The body of a job is strict and closed."""

import base64
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from app.jobs.spec import JobRequest

SECRET = "whsec_" + base64.b64encode(b"x" * 32).decode()


def _body(**changes: Any) -> dict[str, Any]:
    return {"engine": "detect", "input": {"target": {"file": "file_1"}}, **changes}


def test_the_smallest_body_gets_every_default() -> None:
    request = JobRequest.model_validate(_body())
    assert request.priority == "normal"
    assert request.model is None
    assert request.input.source == []
    assert request.params == {}
    assert request.metadata == {}
    assert request.consent is False


def test_the_whole_body_of_the_public_page_is_taken() -> None:
    request = JobRequest.model_validate(
        _body(
            model="yolov8s@1",
            input={"target": {"url": "https://example.com/a.png"}, "source": {"file": "file_2"}},
            params={"img_size": 960},
            priority="interactive",
            token_quota=100,
            start_deadline_s=None,
            max_runtime_s=60,
            webhook={"url": "https://example.com/hook", "events": ["job.failed"], "secret": SECRET},
            project="alpha",
            user="u-1",
            metadata={"k": "v", "n": 1, "f": 0.5, "b": True},
            consent=True,
        )
    )
    assert request.token_quota == Decimal(100)
    assert [ref.file for ref in request.input.source] == ["file_2"]


def test_sources_may_be_a_list() -> None:
    refs = [{"file": "file_2"}, {"data": "data:image/png;base64,AAAA"}]
    request = JobRequest.model_validate(_body(input={"target": {"file": "file_1"}, "source": refs}))
    assert len(request.input.source) == 2


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"price": 0}, ("price",)),
        ({"tenant_id": "ten_2"}, ("tenant_id",)),
        ({"input": {"target": {"file": "f"}, "mask": {}}}, ("input", "mask")),
        ({"input": {"target": {}}}, ("input", "target")),
        ({"input": {"target": {"file": "f", "url": "https://a.b/"}}}, ("input", "target")),
        ({"input": {"target": {"path": "/etc/passwd"}}}, ("input", "target", "path")),
        ({"input": {"target": {"file": 1}}}, ("input", "target", "file")),
        ({"input": {"target": {"url": "ftp://a.b/c"}}}, ("input", "target", "url")),
        ({"input": {"target": {"url": "/etc/passwd"}}}, ("input", "target", "url")),
        ({"input": {"target": {"url": "https://u:p@a.b/"}}}, ("input", "target", "url")),
        (
            {"input": {"target": {"url": "http://good.com\\@127.0.0.1/"}}},
            ("input", "target", "url"),
        ),
        ({"input": {"target": {"url": "https://a.b/\n"}}}, ("input", "target", "url")),
        ({"input": {"target": {"file": "f"}, "source": [{}] * 2}}, ("input", "source", 0)),
        ({"engine": None}, ("engine",)),
        ({"engine": 5}, ("engine",)),
        ({"engine": "de\x00tect"}, ("engine",)),
        ({"model": "x" * 200}, ("model",)),
        ({"user": "\ud800"}, ("user",)),
        ({"user": "x" * 129}, ("user",)),
        ({"priority": "urgent"}, ("priority",)),
        ({"priority": 0}, ("priority",)),
        ({"params": []}, ("params",)),
        ({"token_quota": "100"}, ("token_quota",)),
        ({"token_quota": True}, ("token_quota",)),
        ({"token_quota": -1}, ("token_quota",)),
        ({"token_quota": float("nan")}, ("token_quota",)),
        ({"token_quota": float("inf")}, ("token_quota",)),
        ({"token_quota": 0.0000001}, ("token_quota",)),
        ({"token_quota": 2**63}, ("token_quota",)),
        ({"start_deadline_s": 0}, ("start_deadline_s",)),
        ({"start_deadline_s": 1.5}, ("start_deadline_s",)),
        ({"start_deadline_s": True}, ("start_deadline_s",)),
        ({"max_runtime_s": 86_401}, ("max_runtime_s",)),
        ({"consent": "true"}, ("consent",)),
        ({"consent": 1}, ("consent",)),
        ({"webhook": {"url": "https://a.b/", "secret": "short"}}, ("webhook", "secret")),
        (
            {"webhook": {"url": "https://a.b/", "events": ["job.exploded"]}},
            ("webhook", "events", 0),
        ),
        ({"webhook": {"events": []}}, ("webhook", "url")),
        ({"metadata": {"k": None}}, ("metadata",)),
        ({"metadata": {"k": {}}}, ("metadata",)),
        ({"metadata": {"k": "v" * 1025}}, ("metadata",)),
        ({"metadata": {"k": "\x00"}}, ("metadata",)),
        ({"metadata": {"k": float("nan")}}, ("metadata",)),
        ({"metadata": {"k": 10**400}}, ("metadata",)),
        ({"metadata": {"": "v"}}, ("metadata",)),
        ({"metadata": {"k" * 65: "v"}}, ("metadata",)),
        ({"metadata": {f"k{n}": 1 for n in range(51)}}, ("metadata",)),
        ({"metadata": []}, ("metadata",)),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, Any], place: tuple[str | int, ...]) -> None:
    with pytest.raises(ValidationError) as refusal:
        JobRequest.model_validate(_body(**changes))
    assert place in [error["loc"] for error in refusal.value.errors()]


@pytest.mark.parametrize(("number", "exact"), [(0, "0"), (12.5, "12.5"), (0.000001, "0.000001")])
def test_quotas_are_exact_decimals(number: float, exact: str) -> None:
    assert JobRequest.model_validate(_body(token_quota=number)).token_quota == Decimal(exact)


def test_a_webhook_secret_may_leave_out_its_prefix() -> None:
    body = _body(webhook={"url": "https://a.b/", "secret": SECRET.removeprefix("whsec_")})
    webhook = JobRequest.model_validate(body).webhook
    assert webhook is not None
    assert webhook.secret == SECRET
