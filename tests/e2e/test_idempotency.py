"""The same Idempotency-Key many times at once, over HTTP."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from app.client.errors import ProblemError


def test_ten_requests_with_one_key_are_one_job_with_one_hold(platform, http, client, picture_of):
    file_id = client.upload(picture_of(800, 600))["id"]
    job = {"engine": "colorize", "input": {"target": {"file": file_id}}}
    known = {each["id"] for each in client.jobs()}

    def submit(_number):
        return http.post("/v1/jobs", json=job, headers={"Idempotency-Key": "ten-at-once"})

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(submit, range(10)))
    assert {answer.status_code for answer in answers} == {202}
    [job_id] = {answer.json()["id"] for answer in answers}
    assert {each["id"] for each in client.jobs()} - known == {job_id}
    assert client.wait(job_id)["status"] == "succeeded"
    assert platform.query("SELECT count(*) FROM billing.hold WHERE job = %s", job_id) == [(1,)]
    assert platform.query("SELECT count(*) FROM billing.charge WHERE job = %s", job_id) == [(1,)]


def test_the_same_key_with_another_body_is_refused(client, picture_of):
    file_id = client.upload(picture_of(800, 600))["id"]
    job = {"engine": "colorize", "input": {"target": {"file": file_id}}}
    client.wait(client.submit(job, idempotency_key="one-body")["id"])
    with pytest.raises(ProblemError) as caught:
        client.submit({**job, "params": {"type": "person"}}, idempotency_key="one-body")
    assert "idempotency" in caught.value.code
