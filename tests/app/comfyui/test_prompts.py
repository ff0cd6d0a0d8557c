"""A prompt is an ordinary job: quoted, held, settled, cancelable, and there after a restart."""

import time

import pytest
from sqlalchemy import text

from app.jobs.states import JobStatus
from app.limits.caps import CapWish, set_cap
from app.outbound import OutboundPolicy
from app.secret_box import SecretBox
from app.tenants.service import revoke_key
from app.webhooks.subscription import create_endpoint
from billing.caps import SetBy
from billing.wallets import balance
from tests.app.api.conftest import SECRET
from tests.app.comfyui.conftest import graph, picture, serving

FAILURE = {"code": "disk_full", "detail": "There was no room for the result.", "retryable": True}


def wallet(sessions, tenant_id):
    with sessions() as session:
        found = balance(session, tenant_id)
    return found.available, found.held


def test_a_prompt_is_held_run_settled_and_its_picture_viewed(served, workers, sessions):
    prompt_id = served.prompt(graph(served.upload(picture())), client_id="nobody listens")
    [job] = workers.jobs()
    assert (job["engine"], job["tenant_id"]) == ("colorize", served.tenant_id)
    assert job["metadata"] == {"comfyui_prompt": prompt_id}
    assert wallet(sessions, served.tenant_id)[1] == job["quote"]["micro_tokens"] > 0
    assert served.http.get(f"/history/{prompt_id}").json() == {}
    result = picture(30)
    workers.run(job["id"], result)
    entry = served.http.get(f"/history/{prompt_id}").json()[prompt_id]
    assert entry["status"]["completed"] is True
    assert entry["status"]["status_str"] == "success"
    assert [each[0] for each in entry["status"]["messages"]] == [
        *("execution_start", "execution_cached", "execution_success")
    ]
    [image] = entry["outputs"]["3"]["images"]
    assert image == {"filename": "dd_00001_.png", "subfolder": "", "type": "output"}
    viewed = served.http.get("/view", params=image)
    assert (viewed.content, viewed.headers["Content-Type"]) == (result, "image/png")
    assert wallet(sessions, served.tenant_id)[1] == 0
    assert served.http.get("/history").json().keys() == {prompt_id}


def test_the_next_result_of_a_prefix_has_the_next_number(served, workers):
    name = served.upload(picture())
    for _ in range(2):
        served.prompt(graph(name, type="person"))
    for job in workers.jobs():
        workers.run(job["id"])
    found = [
        entry["outputs"]["3"]["images"][0]["filename"]
        for entry in served.http.get("/history").json().values()
    ]
    assert found == ["dd_00001_.png", "dd_00002_.png"]


def test_a_queue_tells_what_waits_and_what_runs(served, workers):
    name = served.upload(picture())
    first, second = served.prompt(graph(name)), served.prompt(graph(name), front=True, number=None)
    assert workers.jobs()[1]["priority"] == "interactive"
    workers.start(workers.jobs()[0]["id"])
    queue = served.http.get("/queue").json()
    [[number, prompt_id, sent, extra, outputs]] = queue["queue_running"]
    assert (number, prompt_id, outputs) == (1, first, ["3"])
    assert sent == graph(name)
    assert extra == {}
    assert [item[:2] for item in queue["queue_pending"]] == [[-2, second]]
    assert served.http.get("/prompt").json() == {"exec_info": {"queue_remaining": 2}}


def test_secrets_of_other_services_are_not_kept(served, workers):
    extra = {"api_key_comfy_org": "secret", "note": "kept"}
    served.prompt(graph(served.upload(picture())), extra_data=extra, client_id="c")
    item = served.http.get("/queue").json()["queue_pending"][0]
    assert item[3] == {"note": "kept", "client_id": "c"}


@pytest.mark.parametrize("body", [{"clear": True}, "delete"])
def test_a_prompt_taken_from_the_queue_costs_nothing(body, served, workers, sessions):
    before = wallet(sessions, served.tenant_id)
    prompt_id = served.prompt(graph(served.upload(picture())))
    wanted = {"delete": [prompt_id, "unknown"]} if body == "delete" else body
    answer = served.http.post("/queue", json=wanted)
    assert (answer.status_code, answer.content) == (200, b"")
    [job] = workers.jobs()
    assert job["status"] == JobStatus.CANCELED
    workers.settle(job["id"])
    assert wallet(sessions, served.tenant_id) == before
    assert served.http.get("/queue").json() == {"queue_running": [], "queue_pending": []}
    assert served.http.get("/history").json() == {}


def test_what_runs_is_not_taken_from_the_queue_but_interrupted(served, workers):
    prompt_id = served.prompt(graph(served.upload(picture())))
    [job] = workers.jobs()
    workers.start(job["id"])
    served.http.post("/queue", json={"clear": True})
    served.http.post("/interrupt", json={"prompt_id": "another"})
    assert workers.jobs()[0]["cancel_requested_at"] is None
    assert served.http.post("/interrupt").status_code == 200
    assert workers.jobs()[0]["cancel_requested_at"] is not None
    workers.end(job["id"], outcome=JobStatus.CANCELED)
    entry = served.http.get(f"/history/{prompt_id}").json()[prompt_id]
    assert entry["status"]["status_str"] == "error"
    last, facts = entry["status"]["messages"][-1]
    assert (last, facts["node_id"], facts["executed"]) == ("execution_interrupted", "2", ["1"])


def test_a_failed_job_is_an_execution_error_that_says_why(served, workers):
    prompt_id = served.prompt(graph(served.upload(picture())))
    [job] = workers.jobs()
    workers.end(job["id"], workers.start(job["id"]), outcome=JobStatus.FAILED, error=FAILURE)
    entry = served.http.get(f"/history/{prompt_id}").json()[prompt_id]
    assert entry["outputs"] == {}
    last, facts = entry["status"]["messages"][-1]
    assert last == "execution_error"
    assert facts["exception_message"] == FAILURE["detail"]
    assert facts["exception_type"] == "pixelmeter.disk_full"
    assert (facts["node_id"], facts["node_type"]) == ("2", "DDColor_Colorize")


def test_without_tokens_the_prompt_is_refused_in_words(opened, workers, sessions):
    poor = opened("pauper", tokens=3)
    answer = poor.http.post("/prompt", json={"prompt": graph(poor.upload(picture()))})
    assert answer.status_code == 400
    error, nodes = answer.json()["error"], answer.json()["node_errors"]
    assert error["type"] == "insufficient_tokens"
    assert error["message"].startswith("Not enough tokens: ")
    assert "3" in error["message"]
    assert nodes["2"]["errors"] == [error]
    assert nodes["2"]["dependent_outputs"] == ["3"]
    assert workers.jobs() == []
    assert poor.http.get("/queue").json()["queue_pending"] == []
    assert wallet(sessions, poor.tenant_id)[1] == 0


def test_a_cap_refuses_and_its_owner_hears_of_it(served, sessions):
    with sessions.begin() as session:
        wish = CapWish(scope="tenant", subject=None, window="day", limit=1)
        set_cap(session, tenant_id=served.tenant_id, set_by=SetBy.TENANT, wish=wish)
        create_endpoint(
            session,
            box=SecretBox(SECRET),
            policy=OutboundPolicy(allow_hosts=frozenset()),
            tenant_id=served.tenant_id,
            url="https://example.com/hook",
            events=[],
        )
    answer = served.http.post("/prompt", json={"prompt": graph(served.upload(picture()))})
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "cap_reached")
    with sessions() as session:
        told = session.scalars(text("SELECT type FROM webhook_event")).all()
    assert told == ["cap.reached"]


def test_an_id_is_one_prompt_however_often_it_is_sent(served, workers):
    workflow = graph(served.upload(picture()))
    first = served.http.post("/prompt", json={"prompt": workflow, "prompt_id": "mine"}).json()
    again = served.http.post("/prompt", json={"prompt": workflow, "prompt_id": "mine"})
    assert again.json() == first
    assert len(workers.jobs()) == 1
    workflow["3"]["inputs"]["filename_prefix"] = "other"
    other = served.http.post("/prompt", json={"prompt": workflow, "prompt_id": "mine"})
    assert (other.status_code, other.json()["error"]["type"]) == (400, "prompt_id_taken")


def test_prompts_and_history_survive_a_restart(served, workers, settings):
    name = served.upload(picture())
    done, waiting = served.prompt(graph(name)), served.prompt(graph(name, type="person"))
    workers.run(workers.jobs()[0]["id"])
    with serving(settings, key=served.key, tenant_id=served.tenant_id) as second:
        assert second.http.get("/history").json() == served.http.get("/history").json()
        assert done in second.http.get("/history").json()
        assert second.http.get("/queue").json()["queue_pending"][0][1] == waiting
        workers.run(workers.jobs()[1]["id"])
        assert second.http.get(f"/history/{waiting}").json()[waiting]["status"]["completed"]


def test_a_history_is_forgotten_on_request_and_pages(served, workers):
    name = served.upload(picture())
    ids = [served.prompt(graph(name, model_input_size=size)) for size in (64, 96, 128)]
    for job in workers.jobs():
        workers.run(job["id"])
    get = served.http.get
    assert list(get("/history").json()) == ids
    assert list(get("/history?max_items=2").json()) == ids[1:]
    assert list(get("/history?max_items=1&offset=1").json()) == ids[1:2]
    assert get("/history?max_items=many").status_code == 400
    served.http.post("/history", json={"delete": [ids[0]]})
    assert list(get("/history").json()) == ids[1:]
    assert get(f"/history/{ids[0]}").json() == {}
    served.http.post("/history", json={"clear": True})
    assert get("/history").json() == {}
    assert len(workers.jobs()) == 3


def test_outputs_of_one_picture_share_a_job_and_others_have_their_own(served, workers):
    workflow = graph(served.upload(picture()))
    workflow["4"] = {"class_type": "PreviewImage", "inputs": {"images": ["2", 0]}}
    workflow["5"] = {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}
    scale = {"image": ["2", 0], "upscale_method": "area", "width": 60, "height": 0}
    workflow["6"] = {"class_type": "ImageScale", "inputs": {**scale, "crop": "disabled"}}
    workflow["7"] = {"class_type": "SaveImage", "inputs": {"images": ["6", 0]}}
    workflow["7"]["inputs"]["filename_prefix"] = "2026/small"
    prompt_id = served.prompt(workflow)
    whole, small = workers.jobs()
    assert small["params"]["output_size"] == [45, 60]
    assert whole["params"]["output_size"] is None
    for job in (whole, small):
        workers.run(job["id"], picture(40 if job is whole else 50))
    outputs = served.http.get(f"/history/{prompt_id}").json()[prompt_id]["outputs"]
    seen = {
        node: served.http.get("/view", params=out["images"][0]).content
        for node, out in outputs.items()
    }
    assert seen == {"3": picture(40), "4": picture(40), "5": picture(), "7": picture(50)}
    assert outputs["7"]["images"][0]["subfolder"] == "2026"
    assert outputs["4"]["images"][0]["type"] == "temp"


def test_a_prompt_that_only_shows_an_upload_is_no_job(served, workers):
    workflow = graph(served.upload(picture()))
    workflow["3"]["inputs"]["images"] = ["1", 0]
    prompt_id = served.prompt(workflow)
    assert workers.jobs() == []
    assert served.http.get(f"/history/{prompt_id}").json()[prompt_id]["status"]["completed"]


def test_a_result_can_be_loaded_again(served, workers):
    served.prompt(graph(served.upload(picture())))
    workers.run(workers.jobs()[0]["id"], picture(60))
    served.prompt(graph("dd_00001_.png [output]"))
    assert len(workers.jobs()) == 2


def test_a_revoked_key_ends_the_port_within_the_next_request(served, sessions):
    with sessions.begin() as session:
        key_id = session.execute(text("SELECT id FROM api_key")).scalar_one()
        revoke_key(session, key_id=key_id)
    answer = served.http.get("/queue")
    assert (answer.status_code, answer.json()["error"]["type"]) == (401, "key_revoked")


def test_no_tenant_meets_another(served, opened, workers):
    prompt_id = served.prompt(graph(served.upload(picture())))
    [job] = workers.jobs()
    stranger = opened("stranger")
    assert stranger.http.get("/queue").json() == {"queue_running": [], "queue_pending": []}
    stranger.http.post("/queue", json={"clear": True, "delete": [prompt_id]})
    workers.start(job["id"])
    stranger.http.post("/interrupt", json={"prompt_id": prompt_id})
    assert workers.jobs()[0]["cancel_requested_at"] is None
    workers.end(job["id"])
    stranger.http.post("/history", json={"clear": True, "delete": [prompt_id]})
    assert stranger.http.get("/history").json() == {}
    assert stranger.http.get(f"/history/{prompt_id}").json() == {}
    for place in ({"filename": "photo.png", "type": "input"}, {"filename": "dd_00001_.png"}):
        assert served.http.get("/view", params=place).status_code == 200
        assert stranger.http.get("/view", params=place).status_code == 404
    refused = stranger.http.post("/prompt", json={"prompt": graph("photo.png")})
    assert refused.json()["node_errors"]["1"]["errors"][0]["details"] == (
        "image - Invalid image file: photo.png"
    )
    listed = stranger.http.get("/object_info/LoadImage").json()["LoadImage"]
    assert listed["input"]["required"]["image"][0] == []
    assert prompt_id in served.http.get("/history").json()
    stranger.prompt(graph(stranger.upload(picture(3))), prompt_id=prompt_id)
    time.sleep(0.3)
    assert served.http.get("/prompt").json()["exec_info"]["queue_remaining"] == 0
