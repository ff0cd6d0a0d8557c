"""The worked examples of the price list: quoted by the running platform, and settled by it."""

import re
import time
from itertools import count

import pytest
from PIL import Image

from app.catalog.shelf import BOOK_TTL_S
from app.client.client import Client
from app.client.errors import PaymentRequiredError
from tests.billing.worked_examples import EXAMPLES

ASKED = [example for example in EXAMPLES if example.ask is not None]


@pytest.fixture(scope="session")
def new_portrait(photos, tmp_path_factory):
    """Other bytes of one face at each call: a source that no job of the tenant had before."""
    folder, numbers = tmp_path_factory.mktemp("sources"), count(1)

    def make():
        path = folder / f"{next(numbers)}.png"
        with Image.open(photos.hopper) as photo:
            photo.convert("RGB").crop((0, 0, photo.width, photo.height - int(path.stem))).save(path)
        return path

    return make


@pytest.fixture
def body_of(request, client, picture_of, portraits_of, new_portrait):
    """The job that asks for the work of an example."""

    def body(ask, client=client):
        face_job = ask.engine == "face-swap"
        target = portraits_of(ask.faces) if face_job else picture_of(*ask.size)
        inputs = {"target": {"file": client.upload(target)["id"]}}
        if face_job:
            inputs["source"] = {"file": client.upload(new_portrait())["id"]}
        asked = {"engine": ask.engine, "model": ask.model, "input": inputs, "params": ask.params}
        if ask.source_known:
            request.getfixturevalue("model_mirror")  # for what tells faces apart
            first = settle(client, asked)
            assert (first["usage"]["tokens"], first["usage"]["cached_embeddings"]) == (6, 0)
            asked["cache"] = False  # the same question again, but not the same answer
        return asked

    return body


def settle(client, job):
    done = client.wait(client.submit(job)["id"], timeout_s=120)
    assert done["status"] == "succeeded", done["error"]
    assert done["usage"]["tokens"] <= done["quote"]["max_tokens"]
    return done


@pytest.mark.parametrize(
    "example",
    [each for each in ASKED if not each.ask.source_known],  # which only a run can know
    ids=lambda example: example.name,
)
def test_a_quote_even_where_the_weights_are_missing(client, body_of, example):
    quoted = client.quote(body_of(example.ask))
    assert quoted["tokens"] == quoted["max_tokens"] == example.tokens
    assert sum(line["tokens"] for line in quoted["terms"]) == pytest.approx(example.tokens)
    assert quoted["multipliers"] == []
    assert quoted["balance_after"] == pytest.approx(quoted["balance"] - example.tokens)


@pytest.mark.parametrize(
    "example", [each for each in ASKED if each.ask.runs], ids=lambda example: example.name
)
def test_a_settled_job(client, body_of, example):
    asked = body_of(example.ask)
    before = client.balance()["available"]
    done = settle(client, asked)
    assert done["usage"]["tokens"] == example.tokens
    assert done["usage"]["cached_embeddings"] == int(example.ask.source_known)
    assert done["usage"]["remaining_tokens"] == client.balance()["available"]
    assert before - client.balance()["available"] == pytest.approx(example.tokens, abs=1e-6)


def test_a_settled_detection_costs_its_worked_price_and_names_its_model(
    client, photos, model_mirror
):
    target = {"target": {"file": client.upload(photos.astronaut)["id"]}}
    job = {"engine": "detect", "model": "yolov8n", "input": target, "params": {"img_size": 320}}
    done = settle(client, job)
    assert done["usage"]["tokens"] == 0.175
    assert done["model"] == "yolov8n@1"
    labels = {found["label"] for found in done["output"]["data"]["predictions"]}
    assert "person" in labels


def test_a_job_over_the_callers_own_quota_is_refused_before_it_runs(client, body_of):
    example = next(each for each in ASKED if each.tokens == 11 and each.card == "ddcolor")
    held = client.balance()["held"]
    with pytest.raises(PaymentRequiredError):
        client.submit({**body_of(example.ask), "token_quota": 10})
    assert client.balance()["held"] == held


def test_face_fusion_by_compute_time_is_held_at_its_ceiling_and_charged_as_measured(
    platform, body_of
):
    """By every stage that the engine measures; what is not used of the ceiling comes back."""
    made = platform.run("admin", "tenants", "create", "by-the-second", "--tokens", "500").stdout
    platform.run("ratecards", "assign", "by-the-second", "facefusion-gpu")
    time.sleep(BOOK_TTL_S + 0.5)  # every process of the API has read its prices again
    key = re.search(r"pm_live_\w+", made)[0]
    ask = next(each.ask for each in ASKED if each.ask.engine == "face-swap")
    with Client.connect(platform.dev["base_url"], key) as client:
        body = body_of(ask, client) | {"consent": True}
        done = settle(client, body)
    price = {"tokens": 115, "max_tokens": 115, "rate_card": "facefusion-gpu@3"}
    assert done["quote"] == {**price, "multipliers": []}
    stages = done["usage"]["stages"]
    weights = {"detect": 1 / 20, "embed": 2 / 30, "swap": 3 / 60, "blend": 1 / 10}
    worth = sum(ms * weights.get(stage, 3 / 60) for stage, ms in stages.items())
    assert done["usage"]["tokens"] == min(115, int(worth + 0.5))


def test_an_operator_previews_and_publishes_a_card(platform, tmp_path):
    listed = platform.run("ratecards", "list").stdout
    assert "yolo@1" in listed
    edited = tmp_path / "flat.json"
    edited.write_text(platform.run("ratecards", "show", "flat", "--json").stdout)
    assert "total" in platform.run("ratecards", "preview", str(edited)).stdout
    start = "2090-01-01T00:00:00+08:00"
    published = platform.run("ratecards", "publish", str(edited), "--from", start).stdout
    assert "flat@2 is published." in published
    refused = platform.run("ratecards", "publish", str(edited), check=False)
    assert refused.returncode == 1
    assert "must begin later" in refused.stderr
    rule = '{"bands": [{"from": "00:00", "to": "08:00", "factor": "0.8"}]}'
    moved = ("ratecards", "rule", "time_of_day", "everybody", rule, "--from", start)
    assert "version 1" in platform.run(*moved).stdout
    assert "time_of_day" in platform.run("ratecards", "rules").stdout
    assert "absorbed" in platform.run("ratecards", "overruns").stdout


def test_a_customer_saves_a_statement_and_an_operator_ends_the_month(platform, tmp_path):
    made = platform.run("admin", "tenants", "create", "bookworm").stdout
    key = re.search(r"pm_live_\w+", made)[0]
    bookworm = type(platform)(platform.folder, {**platform.environment, "PIXELMETER_API_KEY": key})
    assert "80.00 CNY" in platform.run("admin", "pack", "bookworm", "10k").stdout
    assert "1,000 tokens" in platform.run("admin", "subscribe", "bookworm", "monthly").stdout
    assert "closing balance" in bookworm.run("statement").stdout
    for form in ("csv", "pdf", "html"):
        bookworm.run("statement", "--out", str(tmp_path / f"statement.{form}"))
    assert (tmp_path / "statement.csv").read_text().splitlines()[-1].endswith(",1000,11000")
    assert (tmp_path / "statement.pdf").read_bytes().startswith(b"%PDF-")
    assert "invoices issued" in platform.run("admin", "month-end").stdout
    assert "no invoices yet" in bookworm.run("invoices").stdout


def test_a_card_is_calibrated_on_what_ran_or_says_what_is_missing(platform, tmp_path):
    asked = ("ratecards", "calibrate", "--card", "yolo", "--out", str(tmp_path / "yolo.toml"))
    done = platform.run(*asked, check=False)
    enough = done.returncode == 0
    assert enough or "cannot be calibrated" in done.stderr
    assert (tmp_path / "yolo.toml").exists() == enough
