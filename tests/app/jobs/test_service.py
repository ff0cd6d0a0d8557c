"""Submitting holds the price and queues the job, or leaves no trace."""

import base64
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine

from app.errors import (
    ConflictError,
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    PaymentRequiredError,
    ProblemError,
)
from app.jobs.bell import JobBell
from app.jobs.service import request_cancel, submit
from app.jobs.spec import JobRequest
from app.jobs.states import JobStatus
from app.speeds.outlook import Outlook
from app.speeds.quoting import quote_request
from tests.app.jobs.shop import INLINE, Shop

PRICE = 300_000  # micro-tokens of the built-in detector at 640x640
ALL = 100_000_000


def _cancel(shop: Shop, job_id: str, tenant_id: str | None = None) -> Any:
    with shop.sessions.begin() as session:
        return request_cancel(session, tenant_id=tenant_id or shop.tenant_id, job_id=job_id)


def _refused(shop: Shop, expected: type[ProblemError], **changes: Any) -> str:
    """Submit, be refused, and leave nothing: no job, no hold, no key, no new file."""
    before = (shop.count("file"), shop.objects(), shop.tokens())
    with pytest.raises(expected) as refusal:
        shop.submitted(**changes)
    assert shop.count("job") == 0
    assert shop.count("billing.hold") == 0
    assert shop.count("idempotency_key") == 0
    assert (shop.count("file"), shop.objects(), shop.tokens()) == before
    return refusal.value.code


def test_a_job_is_queued_with_its_price_held(shop: Shop) -> None:
    submitted = shop.submitted(metadata={"order": 7}, user="u-1", priority="bulk")
    assert submitted.created
    job = submitted.job
    assert (job["status"], job["priority"], job["attempt"]) == ("queued", "bulk", 0)
    assert job["model"] == "builtin@1"
    assert job["quote"]["tokens"] == 0.3
    assert job["quote"]["rate_card"] == "yolo@1"
    assert job["params"]["conf"] == 0.25
    assert shop.tokens() == (ALL - PRICE, PRICE)
    hold = shop.rows("SELECT * FROM billing.hold")[0]
    assert (hold["id"], hold["job"], hold["state"]) == (job["hold_id"], job["id"], "open")


def test_the_row_that_submit_returns_is_the_row_that_was_written(shop: Shop) -> None:
    made = shop.submitted(
        start_deadline_s=60,
        max_runtime_s=5,
        project="alpha",
        metadata={"k": "v"},
        webhook={"url": "https://example.com/hook"},
    )
    stored = shop.job(made.job["id"])
    assert dict(made.job) == stored


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"engine": "paint"}, "unknown_engine"),
        ({"model": "yolov99"}, "unknown_model"),
        ({"params": {"conf": 7}}, "invalid_params"),
        ({"params": {"colour": 1}}, "invalid_params"),
        ({"input": {"target": {"file": "file_unknown"}}}, "file_not_found"),
        ({"input": {"target": {"data": "data:x"}}}, "data_uri_malformed"),
        ({"model": "yolov8x"}, "weights_missing"),
        ({"engine": "face-swap", "model": None}, "consent_required"),
        ({"engine": "face-swap", "model": None, "consent": True}, "wrong_source_count"),
        ({"engine": "paint", "input": {"target": {"data": INLINE}}}, "unknown_engine"),
        ({"token_quota": 0.299999}, "token_quota_exceeded"),
        ({"token_quota": 0, "input": {"target": {"data": INLINE}}}, "token_quota_exceeded"),
    ],
)
@pytest.mark.parametrize("key", [None, "key-1"])
def test_what_is_refused_leaves_nothing(
    shop: Shop, key: str | None, changes: dict[str, Any], code: str
) -> None:
    assert _refused(shop, ProblemError, key=key, **changes) == code


def test_wrong_parameters_are_named_by_pointer(shop: Shop) -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        shop.submitted(params={"conf": 7, "colour": 1})
    assert {place.pointer for place in refusal.value.errors} == {"/params/conf", "/params/colour"}


def test_without_tokens_nothing_is_accepted(open_shop: Callable[..., Shop]) -> None:
    poor = open_shop("poor", tokens=0.29)
    inline = {"input": {"target": {"data": INLINE}}}
    assert _refused(poor, PaymentRequiredError, key="k", **inline) == "insufficient_tokens"


def test_a_quota_that_just_covers_the_quote_is_enough(shop: Shop) -> None:
    assert shop.submitted(token_quota=0.3).created


def test_a_strangers_file_is_not_found(open_shop: Callable[..., Shop]) -> None:
    mine, other = open_shop("mine"), open_shop("other")
    foreign = {"input": {"target": {"file": other.picture}}}
    assert _refused(mine, NotFoundError, **foreign) == "file_not_found"


def test_consent_by_contract_needs_no_field(open_shop: Callable[..., Shop]) -> None:
    demo = open_shop("demo", consent_mode="contract")
    job = demo.submitted(
        engine="face-swap",
        model=None,
        input={"target": {"file": demo.picture}, "source": {"file": demo.picture}},
    ).job
    assert job["model"] == "classical@1"
    assert job["inputs"] == {"target": demo.picture, "source": [demo.picture]}


def test_consent_in_the_request_is_kept_with_the_job(shop: Shop) -> None:
    job = shop.submitted(
        engine="face-swap",
        model=None,
        consent=True,
        input={"target": {"file": shop.picture}, "source": [{"data": INLINE}]},
    ).job
    assert job["consent"] is True
    assert len(job["inputs"]["source"]) == 1
    assert shop.count("file") == 2


def test_a_webhook_secret_is_encrypted_in_the_row(shop: Shop) -> None:
    secret = "whsec_" + base64.b64encode(b"s" * 32).decode()
    webhook = {"url": "https://example.com/hook", "events": ["job.failed"], "secret": secret}
    job = shop.job(shop.submit(webhook=webhook))
    sealed = job["webhook"]["secret"]
    assert secret not in str(job)
    assert shop.box.decrypt(base64.b64decode(sealed)) == secret
    assert job["webhook"]["events"] == ["job.failed"]


def test_a_project_is_made_when_first_named_and_a_key_may_be_bound_to_one(shop: Shop) -> None:
    first, second = (shop.job(shop.submit(project="alpha")) for _ in range(2))
    assert first["project"] == "alpha"
    assert first["project_id"] == second["project_id"]
    assert shop.count("project") == 1
    bound = replace(shop.caller, project_id=first["project_id"], project="alpha")
    assert shop.submitted(caller=bound).job["project_id"] == first["project_id"]
    with pytest.raises(ForbiddenError) as refusal:
        shop.submitted(caller=bound, project="beta")
    assert refusal.value.code == "foreign_project"


def test_the_same_key_and_request_give_the_first_job_again(shop: Shop) -> None:
    first = shop.submitted(key="k", input={"target": {"data": INLINE}})
    again = shop.submitted(key="k", input={"target": {"data": INLINE}})
    assert (first.created, again.created) == (True, False)
    assert dict(again.job) == dict(first.job)
    assert shop.count("job") == shop.count("billing.hold") == 1
    assert shop.count("file") == 2  # the picture of the shop and the one that came along


def test_a_replay_needs_neither_tokens_nor_its_files(shop: Shop) -> None:
    first = shop.submitted(key="k")
    shop.do("UPDATE file SET expires_at = now() - interval '1 day'")
    assert shop.submitted(key="k").job["id"] == first.job["id"]


def test_the_same_key_for_another_request_is_refused(shop: Shop) -> None:
    shop.submitted(key="k")
    with pytest.raises(ConflictError) as refusal:
        shop.submitted(key="k", fingerprint="other")
    assert refusal.value.code == "idempotency_mismatch"
    assert shop.count("job") == 1


def test_a_key_of_another_kind_of_resource_is_refused(shop: Shop) -> None:
    shop.do(
        "INSERT INTO idempotency_key VALUES (:tenant, 'k', 'of a file', 'file_1')",
        tenant=shop.tenant_id,
    )
    with pytest.raises(ConflictError) as refusal:
        shop.submitted(key="k")
    assert refusal.value.code == "idempotency_mismatch"


def test_keys_of_two_tenants_do_not_meet(open_shop: Callable[..., Shop]) -> None:
    mine, other = open_shop("mine"), open_shop("other")
    assert mine.submitted(key="k").job["id"] != other.submitted(key="k").job["id"]


@pytest.mark.parametrize("target", ["file", "inline"])
def test_ten_at_once_with_one_key_make_one_job_and_one_hold(shop: Shop, target: str) -> None:
    body = {"input": {"target": {"data": INLINE}}} if target == "inline" else {}
    outcomes: list[tuple[str, bool]] = []
    barrier = threading.Barrier(10)

    def send() -> None:
        barrier.wait()
        submitted = shop.submitted(key="k", **body)
        outcomes.append((submitted.job["id"], submitted.created))

    threads = [threading.Thread(target=send) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 10
    assert len({job_id for job_id, _ in outcomes}) == 1
    assert [created for _, created in outcomes].count(True) == 1
    assert shop.count("job") == shop.count("billing.hold") == 1
    assert shop.tokens() == (ALL - PRICE, PRICE)
    files = 2 if target == "inline" else 1
    assert shop.count("file") == shop.objects() == files


def test_ten_at_once_with_tokens_for_three_give_three_jobs(
    open_shop: Callable[..., Shop],
) -> None:
    poor = open_shop("poor", tokens=1)
    results: list[str] = []

    def send() -> None:
        try:
            poor.submitted()
            results.append("made")
        except PaymentRequiredError as error:
            results.append(error.code)

    threads = [threading.Thread(target=send) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results.count("made") == 3
    assert results.count("insufficient_tokens") == 7
    assert poor.count("job") == 3


def _notices(database_url: str, channel: str, act: Callable[[], object]) -> list[str]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"LISTEN {channel}")
        act()
        return [notice.payload for notice in connection.notifies(timeout=3, stop_after=1)]


def test_the_dispatcher_is_told_with_the_commit(shop: Shop, database_url: str) -> None:
    assert _notices(database_url, "pixelmeter_jobs", shop.submit) == [""]


def test_or_by_a_bell_after_the_commit(shop: Shop, engine: Engine, database_url: str) -> None:
    bell = JobBell(engine)

    def send(*, commit: bool) -> None:
        now = datetime.now(UTC)
        with (
            shop.sessions() as session,
            shop.desk.open(session, tenant_id=shop.tenant_id, now=now) as intake,
        ):
            submit(
                session,
                catalog=shop.catalog,
                box=shop.box,
                intake=intake,
                caller=shop.caller,
                request=JobRequest.model_validate(shop.body()),
                bell=bell,
                now=now,
            )
            if commit:
                session.commit()
            else:
                session.rollback()

    send(commit=False)
    assert bell._thread is None
    assert _notices(database_url, "pixelmeter_jobs", lambda: send(commit=True)) == [""]
    bell.close()


def test_a_bell_rings_on_after_its_connection_broke(
    shop: Shop, engine: Engine, database_url: str
) -> None:
    bell = JobBell(engine)
    assert _notices(database_url, "pixelmeter_jobs", bell.ring) == [""]
    shop.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    assert _notices(database_url, "pixelmeter_jobs", bell.ring) == [""]
    bell.close()


def test_a_quote_says_the_price_and_stores_nothing(shop: Shop) -> None:
    now = datetime.now(UTC)
    with (
        shop.sessions() as session,
        shop.desk.open(session, tenant_id=shop.tenant_id, now=now, keep=False) as intake,
    ):
        # Weights are not needed for a quote; the model is yolov8l at 960, the worked example.
        request = JobRequest.model_validate(
            shop.body(
                model="yolov8l",
                params={"img_size": 960},
                input={"target": {"data": INLINE}},
                token_quota=1,
            )
        )
        quote = quote_request(
            session,
            catalog=shop.catalog,
            outlook=Outlook(),
            intake=intake,
            request=request,
            now=now,
        )
        session.rollback()
    assert quote["tokens"] == quote["max_tokens"] == 5.625
    assert quote["rate_card"] == "yolo@1"
    assert quote["balance"] == 100
    assert quote["sufficient"] is True
    assert sum(term["tokens"] for term in quote["terms"]) == 5.625
    assert "micro_tokens" not in quote
    assert shop.count("file") == shop.objects() == 1
    assert shop.count("job") == 0


def test_a_queued_job_is_canceled_at_once_and_free(shop: Shop) -> None:
    job_id = shop.submit()
    row = _cancel(shop, job_id)
    assert row["status"] == "canceled"
    assert row["finished_at"] is not None
    record = shop.rows("SELECT * FROM billing.usage_record")[0]
    assert (record["job"], record["outcome"], record["quantities"]) == (job_id, "canceled", {})
    settlement = shop.settle(job_id)
    assert settlement is not None
    assert settlement.charged == 0
    assert shop.tokens() == (ALL, 0)


def test_canceling_twice_changes_nothing(shop: Shop) -> None:
    job_id = shop.submit()
    first = _cancel(shop, job_id)
    assert dict(_cancel(shop, job_id)) == dict(first)
    assert shop.count("billing.usage_record") == 1


def test_a_running_job_is_asked_to_stop(shop: Shop) -> None:
    job_id = shop.submit()
    shop.claimed(job_id)
    row = _cancel(shop, job_id)
    assert row["status"] == "starting"
    assert row["cancel_requested_at"] is not None
    assert shop.count("billing.usage_record") == 0


def test_an_ended_job_cannot_be_canceled(shop: Shop) -> None:
    job_id = shop.submit()
    shop.succeed(shop.claimed(job_id))
    with pytest.raises(ConflictError) as refusal:
        _cancel(shop, job_id)
    assert refusal.value.code == "job_finished"


def test_strangers_cannot_cancel(open_shop: Callable[..., Shop]) -> None:
    mine, other = open_shop("mine"), open_shop("other")
    job_id = mine.submit()
    with pytest.raises(NotFoundError):
        _cancel(mine, job_id, tenant_id=other.tenant_id)
    with pytest.raises(NotFoundError):
        _cancel(mine, "job_unknown")
    assert mine.job(job_id)["status"] == JobStatus.QUEUED


def test_canceling_and_claiming_at_once_end_in_one_of_two_ways(shop: Shop) -> None:
    for _ in range(10):
        job_id = shop.submit()
        with ThreadPoolExecutor() as pool:
            claim = pool.submit(shop.claim, job_id)
            _cancel(shop, job_id)
        job = shop.job(job_id)
        if claim.result() is None:
            assert job["status"] == "canceled"
        else:
            assert (job["status"], job["cancel_requested_at"] is None) == ("starting", False)
