"""The page of before and after: who may open it, what it shows, what may run on it."""

import re
from urllib.parse import urlsplit

import pytest
from sqlalchemy import text

from app.jobs.lifecycle import advance, claim, finish
from app.jobs.states import JobStatus
from tests.app.api.callers import assert_problem
from tests.app.jobs.shop import usage_report


@pytest.fixture
def coloured(caller, file_id, portrait, sessions):
    """A colour job that succeeded; its result is another picture."""
    result = caller.upload(portrait, "result.jpg").json

    def make(engine="colorize"):
        body = {
            "engine": engine,
            "model": "builtin",
            "input": {"target": {"file": file_id}},
        }
        job = caller.post("/v1/jobs", json=body)
        assert job.status_code == 202, job.text
        file = {
            "id": result["id"],
            "name": "a-colorized.jpg",
            "media_type": "image/jpeg",
            "bytes": result["bytes"],
            "sha256": result["sha256"],
        }
        output = {"files": [file], "data": {"model": "builtin@1", "width": 512, "height": 512}}
        with sessions.begin() as session:
            run = claim(session, job_id=job.json["id"], worker="worker-1", lease_s=15)
            for state in (JobStatus.PROCESSING, JobStatus.FINALIZING):
                advance(session, job_id=run.job_id, attempt=run.attempt, to=state)
            finish(
                session,
                job_id=run.job_id,
                attempt=run.attempt,
                outcome=JobStatus.SUCCEEDED,
                output=output,
                usage=usage_report(),
            )
        return caller.get(f"/v1/jobs/{job.json['id']}").json

    return make


def path_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


def test_the_link_opens_the_page_without_a_key(coloured, client):
    page = client.get(path_of(coloured()["links"]["compare"]))
    assert page.status_code == 200
    assert page.content_type == "text/html; charset=utf-8"
    pictures = re.findall(r'<img class="(\w+)" src="([^"]+)"', page.text)
    assert [name for name, _ in pictures] == ["after", "before"]
    for _, address in pictures:
        with client.get(address.replace("&amp;", "&")) as answer:
            assert answer.status_code == 200
            assert answer.content_type.startswith("image/")


def test_a_result_that_browsers_do_not_show_is_previewed_under_the_name_that_was_sent(
    coloured, client, sessions
):
    """As of a TIFF: the page shows small pictures, which have names of their own."""
    job = coloured()
    with sessions.begin() as session:
        statement = text(
            "UPDATE job SET output = jsonb_set(output, '{data,preview}', CAST(:preview AS jsonb))"
            " WHERE id = :id"
        )
        preview = '{"before": "a-colorized.jpg", "after": "a-colorized.jpg"}'
        session.execute(statement, {"preview": preview, "id": job["id"]})
        session.execute(text("UPDATE file SET name = 'x-preview.jpg' WHERE name = 'result.jpg'"))
    page = client.get(path_of(job["links"]["compare"]))
    assert "<h1>a.png</h1>" in page.text
    assert "x-preview" not in page.text


def test_nothing_can_run_on_the_page_but_its_own_script(coloured, client, sessions):
    job = coloured()
    page = client.get(path_of(job["links"]["compare"]))
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    with sessions.begin() as session:
        session.execute(text("UPDATE file SET name = '<script>alert(1)</script>.png'"))
    page = client.get(path_of(job["links"]["compare"]))
    assert "&lt;script&gt;alert(1)" in page.text
    assert re.findall(r"<script[^>]*>", page.text) == ['<script src="/assets/compare.js" defer>']
    assert not re.search(r"\son\w+=|style=|javascript:", page.text)
    for name, kind in (("compare.js", "text/javascript"), ("compare.css", "text/css")):
        answer = client.get(f"/assets/{name}")
        assert (answer.status_code, answer.mimetype) == (200, kind)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert_problem(client.get("/assets/page.html"), status=404, code="not_found")


def test_another_signature_another_job_and_another_path_are_refused(coloured, client):
    first, second = (path_of(coloured()["links"]["compare"]) for _ in range(2))
    assert_problem(client.get(first[:-1] + "A="), status=403, code="link_invalid")
    swapped = second.split("?")[0] + "?" + first.split("?")[1]
    assert_problem(client.get(swapped), status=403, code="link_invalid")
    assert_problem(client.get(first.split("?")[0]), status=403, code="link_invalid")
    unknown = "/v1/jobs/job_unknown/compare?" + first.split("?")[1]
    assert_problem(client.get(unknown), status=403, code="link_invalid")


def test_a_picture_that_is_gone_leaves_the_result_alone(coloured, caller, client, sessions):
    job = coloured()
    with sessions.begin() as session:
        session.execute(
            text("UPDATE file SET expires_at = now() - interval '1 s' WHERE name = 'a.png'")
        )
    page = client.get(path_of(job["links"]["compare"]))
    assert page.status_code == 200
    assert "no longer kept" in page.text
    assert 'class="before"' not in page.text


def test_other_engines_have_no_page(coloured):
    assert coloured(engine="detect")["links"]["compare"] is None
