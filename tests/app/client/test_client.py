import json

import httpx
import pytest

from app.client.client import Client
from app.client.errors import (
    AuthenticationFailedError,
    ConnectionFailedError,
    InvalidRequestError,
    NotFoundError,
    PaymentRequiredError,
    ServerError,
    WaitTimeoutError,
)
from app.client.exchange import Exchange

KEY = "pm_live_x"


def client_of(handler, **options) -> Client:
    exchange = Exchange(
        "http://api.test/", KEY, transport=httpx.MockTransport(handler), pause=lambda _s: None
    )
    return Client(exchange, pause=lambda _s: None, **options)


def flaky(failures, answer):
    """Fail with each of ``failures`` (an exception or a status), then answer."""
    requests = []

    def handle(request):
        request.read()
        requests.append(request)
        if len(requests) <= len(failures):
            failure = failures[len(requests) - 1]
            if isinstance(failure, int):
                return httpx.Response(failure, text="<html>")
            raise failure
        return httpx.Response(200, json=answer)

    return handle, requests


def test_every_call_carries_the_key():
    handle, requests = flaky([], {"available": 5})
    with client_of(handle) as client:
        assert client.balance() == {"available": 5}
    assert requests[0].headers["Authorization"] == f"Bearer {KEY}"
    assert str(requests[0].url) == "http://api.test/v1/balance"


def test_a_submission_is_repeated_with_the_same_key_until_it_is_answered():
    handle, requests = flaky([httpx.ReadError("gone"), 503], {"id": "job_1"})
    assert client_of(handle).submit({"engine": "detect"}) == {"id": "job_1"}
    keys = {request.headers["Idempotency-Key"] for request in requests}
    assert len(requests) == 3
    assert len(keys) == 1


def test_two_submissions_have_two_keys():
    handle, requests = flaky([], {})
    client = client_of(handle)
    client.submit({})
    client.submit({})
    assert requests[0].headers["Idempotency-Key"] != requests[1].headers["Idempotency-Key"]


def test_a_key_of_the_caller_is_used():
    handle, requests = flaky([], {})
    client_of(handle).submit({}, idempotency_key="mine")
    assert requests[0].headers["Idempotency-Key"] == "mine"


def test_an_upload_is_sent_whole_again(tmp_path):
    photo = tmp_path / "photo.png"
    photo.write_bytes(b"pixels")
    handle, requests = flaky([httpx.ConnectError("no")], {"id": "file_1"})
    client_of(handle).upload(photo)
    for request in requests:
        assert b"pixels" in request.content
        assert b'filename="photo.png"' in request.content


def test_no_answer_after_every_retry_is_a_sentence_that_says_what_to_do():
    handle, requests = flaky([httpx.ConnectError("refused")] * 9, {})
    with pytest.raises(ConnectionFailedError, match=r"http://api.test: refused.*pixelmeter up"):
        client_of(handle).balance()
    assert len(requests) == 4


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequestError),
        (401, AuthenticationFailedError),
        (402, PaymentRequiredError),
        (404, NotFoundError),
        (422, InvalidRequestError),
        (500, ServerError),
    ],
)
def test_a_refusal_has_the_type_of_its_status_and_keeps_code_and_places(status, kind):
    problem = {
        "code": "some_code",
        "detail": "Do this instead.",
        "retryable": False,
        "request_id": "req_1",
        "errors": [{"pointer": "/params/conf", "detail": "too large", "code": "invalid"}],
    }
    with pytest.raises(kind) as caught:
        client_of(lambda _request: httpx.Response(status, json=problem)).job("job_1")
    assert (caught.value.code, caught.value.request_id) == ("some_code", "req_1")
    assert str(caught.value) == "Do this instead. [some_code]\n  /params/conf: too large"


def test_a_page_of_a_proxy_is_still_an_error_with_its_status():
    with pytest.raises(ServerError, match="status 502") as caught:
        client_of(lambda _request: httpx.Response(502, text="<html>")).balance()
    assert caught.value.code == "unexpected_answer"


def test_a_list_follows_its_pages_up_to_the_limit():
    seen = []

    def handle(request):
        after = int(request.url.params.get("after", 0))
        size = int(request.url.params["limit"])
        seen.append(size)
        data = [{"n": n} for n in range(after, after + size)]
        page = {"data": data, "next_cursor": str(after + size), "has_more": True}
        return httpx.Response(200, json=page)

    jobs = list(client_of(handle).jobs(limit=130, status="failed"))
    assert [job["n"] for job in jobs] == list(range(130))
    assert seen == [100, 30]


def test_a_list_ends_with_its_last_page():
    page = {"data": [{"n": 1}], "next_cursor": None, "has_more": False}
    client = client_of(lambda _request: httpx.Response(200, json=page))
    assert list(client.ledger()) == [{"n": 1}]


def stages(*jobs):
    rest = iter(jobs)
    return lambda _request: httpx.Response(200, json=next(rest))


def test_waiting_ends_with_the_settlement_and_shows_every_look():
    states = [
        {"status": "processing", "usage": None},
        {"status": "succeeded", "usage": None},
        {"status": "succeeded", "usage": {"tokens": 6}},
    ]
    looks = []
    job = client_of(stages(*states)).wait("job_1", progress=looks.append)
    assert job["usage"]["tokens"] == 6
    assert looks == states


def test_waiting_too_long_says_that_the_job_goes_on():
    clock = iter(range(0, 10_000, 100))
    client = client_of(
        lambda _request: httpx.Response(200, json={"status": "queued", "usage": None}),
        monotonic=lambda: next(clock),
    )
    with pytest.raises(WaitTimeoutError, match=r"job_1 is queued .*goes on"):
        client.wait("job_1", timeout_s=150)


def test_a_download_appears_only_when_it_is_whole(tmp_path):
    def broken():
        yield b"half"
        raise httpx.ReadError("cut")

    target = tmp_path / "out.png"
    with pytest.raises(ConnectionFailedError):
        client_of(lambda _request: httpx.Response(200, content=broken())).download("/x", target)
    assert list(tmp_path.iterdir()) == []
    client_of(lambda _request: httpx.Response(200, content=b"whole")).download("/x", target)
    assert target.read_bytes() == b"whole"


def test_a_refused_download_leaves_no_file(tmp_path):
    problem = json.dumps({"code": "link_expired", "detail": "Ask for the job again."})
    client = client_of(lambda _request: httpx.Response(403, text=problem))
    with pytest.raises(Exception, match="Ask for the job again"):
        client.download("/x", tmp_path / "out.png")
    assert list(tmp_path.iterdir()) == []


def stream(*events: tuple[str, dict[str, object]]) -> str:
    lines = [
        f"id: {number}\nevent: status\ndata: {json.dumps(data)}\n\n" for number, data in events
    ]
    return "retry: 2000\n\n: still here\n\n" + "".join(lines)


def test_a_job_is_followed_over_a_stream_that_breaks():
    asked = []
    answers = [
        stream(("0", {"status": "queued"})) + "id: 1\ndata: {",
        None,
        stream(("19", {"status": "succeeded", "job": {"id": "job_1"}})),
    ]

    def handle(request):
        asked.append(request.headers.get("Last-Event-ID"))
        text = answers[len(asked) - 1]
        if text is None:
            raise httpx.ConnectError("gone")
        return httpx.Response(200, text=text)

    events = list(client_of(handle).events("job_1"))
    assert [event.id for event in events] == ["0", "19"]
    assert events[-1].ended == {"id": "job_1"}
    assert asked == [None, "0", "0"]


def test_a_stream_that_never_answers_is_given_up():
    def handle(request):
        raise httpx.ConnectError("gone")

    with pytest.raises(ConnectionFailedError):
        list(client_of(handle).events("job_1"))


def test_a_refused_stream_is_not_asked_for_again():
    def handle(request):
        return httpx.Response(
            404, json={"code": "job_not_found", "detail": "There is no such job."}
        )

    with pytest.raises(NotFoundError):
        list(client_of(handle).events("job_1"))


def test_a_batch_is_sent_with_a_key_followed_and_tried_again():
    asked = []
    looks = iter(["accepting", "running", "completed"])

    def handle(request):
        request.read()
        asked.append((request.method, request.url.path, request.headers.get("Idempotency-Key")))
        if request.url.path.endswith("/items"):
            rows = [{"index": 0}, {"index": 1}]
            body = {"data": rows, "has_more": False, "next_cursor": None}
            return httpx.Response(200, json=body)
        status = next(looks) if request.method == "GET" else "accepting"
        return httpx.Response(200, json={"id": "batch_1", "status": status})

    seen = []
    with client_of(handle) as client:
        batch = client.submit_batch({"items": [{}]}, idempotency_key="night")
        done = client.wait_batch(batch["id"], progress=lambda each: seen.append(each["status"]))
        assert [item["index"] for item in client.batch_items("batch_1", status="failed")] == [0, 1]
        client.retry_batch("batch_1")
        client.cancel_batch("batch_1")
    assert done["status"] == "completed"
    assert seen == ["accepting", "running", "completed"]
    assert asked[0] == ("POST", "/v1/batches", "night")
    assert asked[-2][:2] == ("POST", "/v1/batches/batch_1/retry")
    assert asked[-2][2]
    assert asked[-1][:2] == ("POST", "/v1/batches/batch_1/cancel")
