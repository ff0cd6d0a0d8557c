import base64
import io
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from apiflask import APIFlask
from PIL import Image
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.app.api.callers import Caller, Traces, assert_problem, job_body, run_and_settle


def submit(caller: Caller, file_id: str, **fields):
    return caller.post("/v1/jobs", json=job_body(file_id, **fields))


def test_a_job_is_accepted_with_its_price_held(caller: Caller, file_id: str) -> None:
    answer = submit(caller, file_id, metadata={"order": "7"}, user="u1")
    assert answer.status_code == 202, answer.text
    job = answer.json
    assert answer.headers["Location"] == f"/v1/jobs/{job['id']}"
    assert (job["status"], job["model"], job["usage"]) == ("queued", "builtin@1", None)
    assert job["metadata"] == {"order": "7"}
    assert job["user"] == "u1"
    balance = caller.get("/v1/balance").json
    assert balance["held"] == job["quote"]["max_tokens"] > 0
    assert balance["available"] + balance["held"] == 1000


def test_a_moving_picture_is_taken_by_its_first_frame_or_not_at_all(caller: Caller) -> None:
    moving = io.BytesIO()
    one, other = Image.new("RGB", (64, 48), "red"), Image.new("RGB", (64, 48), "blue")
    one.save(moving, format="GIF", save_all=True, append_images=[other])
    file = caller.upload(moving.getvalue(), name="two.gif").json
    assert (file["media_type"], file["frames"]) == ("image/gif", 2)
    for path in ("/v1/quotes", "/v1/jobs"):
        refused = caller.post(path, json=job_body(file["id"]))
        assert_problem(refused, status=422, code="animated_image")
    assert caller.get("/v1/balance").json["held"] == 0
    taken = submit(caller, file["id"], params={"first_frame": True})
    assert taken.status_code == 202, taken.text


def test_a_job_can_be_read_listed_and_filtered(caller: Caller, file_id: str) -> None:
    ids = [submit(caller, file_id, metadata={"n": str(n)}).json["id"] for n in range(5)]
    shown = caller.get(f"/v1/jobs/{ids[0]}").json
    assert (shown["id"], shown["queue_position"]) == (ids[0], 1)
    first = caller.get("/v1/jobs?limit=2").json
    assert [job["id"] for job in first["data"]] == [ids[4], ids[3]]
    assert first["has_more"]
    rest = caller.get(f"/v1/jobs?limit=10&after={first['next_cursor']}").json
    assert [job["id"] for job in rest["data"]] == [ids[2], ids[1], ids[0]]
    assert (rest["has_more"], rest["next_cursor"]) == (False, None)
    tagged = caller.get("/v1/jobs?metadata.n=3&status=queued&engine=detect&model=builtin").json
    assert [job["id"] for job in tagged["data"]] == [ids[3]]
    assert caller.get("/v1/jobs?status=failed").json["data"] == []


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("limit=0", 422, "invalid_request"),
        ("limit=101", 422, "invalid_request"),
        ("limit=x", 422, "invalid_request"),
        ("status=done", 422, "invalid_request"),
        ("created_after=yesterday", 422, "invalid_request"),
        ("created_after=2026-01-01T00:00:00", 422, "invalid_request"),
        ("colour=red", 400, "unknown_parameter"),
        ("tenant_id=ten_1", 400, "unknown_parameter"),
        ("limit=1&limit=2", 400, "duplicate_parameter"),
        ("after=a%00b", 400, "nul_character"),
    ],
)
def test_a_wrong_filter_is_refused(caller: Caller, query: str, status: int, code: str) -> None:
    assert_problem(caller.get(f"/v1/jobs?{query}"), status=status, code=code)


def test_an_address_without_a_query_takes_none(caller: Caller) -> None:
    answer = caller.get("/v1/balance?tenant=other")
    assert_problem(answer, status=400, code="unknown_parameter")


def test_strangers_see_nothing(caller: Caller, stranger: Caller, file_id: str) -> None:
    job_id = submit(caller, file_id).json["id"]
    assert_problem(stranger.get(f"/v1/jobs/{job_id}"), status=404, code="job_not_found")
    cancel = stranger.post(f"/v1/jobs/{job_id}/cancel")
    assert_problem(cancel, status=404, code="job_not_found")
    assert stranger.get("/v1/jobs").json["data"] == []
    assert caller.get(f"/v1/jobs/{job_id}").json["status"] == "queued"


def test_a_queued_job_is_canceled_at_once_and_twice_is_fine(caller: Caller, file_id: str) -> None:
    job_id = submit(caller, file_id).json["id"]
    for _ in range(2):
        answer = caller.post(f"/v1/jobs/{job_id}/cancel")
        assert (answer.status_code, answer.json["status"]) == (202, "canceled")


def test_ten_parallel_requests_with_one_key_are_one_job(
    app: APIFlask, caller: Caller, file_id: str, traces: Traces
) -> None:
    def ask(_number: int) -> tuple[int, str]:
        own = Caller(app.test_client(), caller.key, caller.tenant_id)
        headers = {"Idempotency-Key": "once"}
        answer = own.post("/v1/jobs", json=job_body(file_id), headers=headers)
        return answer.status_code, answer.json["id"]

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(ask, range(10)))
    assert {status for status, _ in answers} == {202}
    assert len({job_id for _, job_id in answers}) == 1
    assert traces.look()["job"] == traces.look()["billing.hold"] == 1


def test_one_key_for_two_jobs_is_refused(caller: Caller, file_id: str) -> None:
    headers = {"Idempotency-Key": "once"}
    caller.post("/v1/jobs", json=job_body(file_id), headers=headers)
    other = caller.post("/v1/jobs", json=job_body(file_id, priority="bulk"), headers=headers)
    assert_problem(other, status=409, code="idempotency_mismatch")


@pytest.mark.parametrize("key", ["", "x" * 256, "é"])
def test_a_key_that_cannot_be_one_is_refused(caller: Caller, file_id: str, key: str) -> None:
    answer = caller.post("/v1/jobs", json=job_body(file_id), headers={"Idempotency-Key": key})
    assert_problem(answer, status=422, code="invalid_idempotency_key")


def test_a_form_brings_its_files_along(caller: Caller, photo: bytes, traces: Traces) -> None:
    data = {
        "target": (io.BytesIO(photo), "cat.png"),
        "job": json.dumps({"engine": "detect", "model": "builtin"}),
    }
    answer = caller.post("/v1/jobs", data=data)
    assert answer.status_code == 202, answer.text
    assert traces.look()["stored"] == 1


def test_the_job_part_may_be_a_file(caller: Caller, portrait: bytes) -> None:
    job = {"engine": "face-swap", "consent": True}
    data = {
        "target": (io.BytesIO(portrait), "a.jpg"),
        "source": [(io.BytesIO(portrait), "b.jpg")],
        "job": (io.BytesIO(json.dumps(job).encode()), "job.json"),
    }
    answer = caller.post("/v1/jobs", data=data)
    assert answer.status_code == 202, answer.text


def test_a_form_sent_twice_with_one_key_stores_its_files_once(
    caller: Caller, photo: bytes, traces: Traces
) -> None:
    ids = set()
    for _ in range(2):
        data = {
            "target": (io.BytesIO(photo), "cat.png"),
            "job": json.dumps({"engine": "detect", "model": "builtin"}),
        }
        answer = caller.post("/v1/jobs", data=data, headers={"Idempotency-Key": "form"})
        assert answer.status_code == 202, answer.text
        ids.add(answer.json["id"])
    left = traces.look()
    assert (len(ids), left["stored"], left["file"], left["job"]) == (1, 1, 1, 1)


@pytest.mark.parametrize(
    ("job", "refusal"),
    [
        ("{", (400, "json_invalid")),
        ("[]", (400, "json_not_object")),
        ('{"engine":"detect","price":0}', (400, "unknown_field")),
        ('{"engine":"nothing"}', (422, "unknown_engine")),
        ('{"engine":"detect","input":{"target":{"file":"f"}}}', (400, "ambiguous_input")),
    ],
)
def test_a_bad_form_stores_nothing(
    caller: Caller, photo: bytes, traces: Traces, job: str, refusal: tuple[int, str]
) -> None:
    data = {"target": (io.BytesIO(photo), "cat.png"), "job": job}
    status, code = refusal
    assert_problem(caller.post("/v1/jobs", data=data), status=status, code=code)
    assert set(traces.look().values()) == {0}


def test_a_part_that_nobody_knows_is_refused(caller: Caller, photo: bytes) -> None:
    mask = (io.BytesIO(photo), "mask.png")
    data = {"target": (io.BytesIO(photo), "a.png"), "mask": mask, "job": '{"engine":"detect"}'}
    assert_problem(caller.post("/v1/jobs", data=data), status=400, code="unknown_part")


def test_a_form_without_a_target_is_refused(caller: Caller) -> None:
    data = {"job": (io.BytesIO(b'{"engine":"detect"}'), "job.json")}
    assert_problem(caller.post("/v1/jobs", data=data), status=400, code="missing_part")


def test_an_inline_picture_becomes_a_file(caller: Caller, photo: bytes, traces: Traces) -> None:
    inline = f"data:image/png;base64,{base64.b64encode(photo).decode()}"
    body = job_body("x") | {"input": {"target": {"data": inline}}}
    answer = caller.post("/v1/jobs", json=body)
    assert answer.status_code == 202, answer.text
    assert traces.look()["file"] == 1


def test_a_caller_that_waits_gets_the_settled_job(
    caller: Caller, file_id: str, sessions: sessionmaker[Session]
) -> None:
    def finish_the_only_job() -> None:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with sessions() as session:
                job_id = session.execute(text("SELECT id FROM job")).scalar_one_or_none()
            if job_id is not None:
                run_and_settle(sessions, job_id)
                return
            time.sleep(0.02)

    worker = threading.Thread(target=finish_the_only_job)
    worker.start()
    answer = caller.post("/v1/jobs", json=job_body(file_id), headers={"Prefer": "wait=10"})
    worker.join()
    assert answer.status_code == 200, answer.text
    assert answer.json["status"] == "succeeded"
    assert answer.json["usage"]["tokens"] == answer.json["quote"]["tokens"]
    assert answer.json["usage"]["remaining_tokens"] == caller.get("/v1/balance").json["available"]
    assert answer.headers["Preference-Applied"] == "wait=10"


def test_a_caller_that_waits_in_vain_gets_the_queued_job(caller: Caller, file_id: str) -> None:
    started = time.monotonic()
    answer = caller.post("/v1/jobs", json=job_body(file_id), headers={"Prefer": "wait=1"})
    assert answer.status_code == 202
    assert answer.json["status"] == "queued"
    assert 0.9 < time.monotonic() - started < 5


def test_the_price_of_a_quote_is_the_price_of_the_job(
    caller: Caller, file_id: str, traces: Traces
) -> None:
    quote = caller.post("/v1/quotes", json=job_body(file_id))
    assert quote.status_code == 200, quote.text
    assert quote.json["sufficient"] is True
    assert quote.json["balance"] == 1000
    assert traces.look()["job"] == 0
    job = submit(caller, file_id).json
    assert job["quote"]["tokens"] == quote.json["tokens"]


def test_a_quote_for_an_inline_picture_keeps_nothing(
    caller: Caller, photo: bytes, traces: Traces
) -> None:
    inline = f"data:image/png;base64,{base64.b64encode(photo).decode()}"
    body = job_body("x") | {"input": {"target": {"data": inline}}}
    assert caller.post("/v1/quotes", json=body).status_code == 200
    assert set(traces.look().values()) == {0}


def test_a_model_without_weights_can_be_quoted_but_not_run(
    caller: Caller, file_id: str, traces: Traces
) -> None:
    body = job_body(file_id, model="yolov8l", params={"img_size": 960})
    quote = caller.post("/v1/quotes", json=body)
    assert quote.status_code == 200, quote.text
    assert quote.json["tokens"] == 5.625
    assert_problem(caller.post("/v1/jobs", json=body), status=422, code="weights_missing")
    assert traces.look()["job"] == 0


def test_a_key_of_a_project_keeps_to_it(
    caller: Caller, file_id: str, admin: Caller, client
) -> None:
    made = admin.post(f"/v1/admin/tenants/{caller.tenant_id}/keys", json={"project": "blue"})
    own = Caller(client, made.json["key"], caller.tenant_id)
    assert submit(own, file_id).json["project"] == "blue"
    answer = submit(own, file_id, project="red")
    assert_problem(answer, status=403, code="foreign_project")
