"""The worked prices, from quotes and from settled jobs."""

import pytest

from app.client.errors import PaymentRequiredError


def body(client, engine, target, *, source=None, model=None, **params):
    inputs = {"target": {"file": client.upload(target)["id"]}}
    if source is not None:
        inputs["source"] = {"file": client.upload(source)["id"]}
    return {"engine": engine, "model": model, "input": inputs, "params": params}


def settle(client, job):
    done = client.wait(client.submit(job)["id"], timeout_s=120)
    assert done["status"] == "succeeded", done["error"]
    assert done["usage"]["tokens"] <= done["quote"]["max_tokens"]
    return done


@pytest.mark.parametrize(
    ("size", "params", "tokens"),
    [
        ((800, 600), {"type": "person"}, 11),
        ((800, 600), {"type": "auto"}, 16),  # the dearer kind, until it is known
        ((1920, 1080), {"type": "building"}, 19),
        ((1920, 1080), {"type": "building", "upscale": 2}, 24),
    ],
)
def test_a_colorize_quote(client, picture_of, size, params, tokens):
    assert client.quote(body(client, "colorize", picture_of(*size), **params))["tokens"] == tokens


@pytest.mark.parametrize(
    ("model", "size", "tokens"),
    [("yolov8s", 640, 1), ("yolov8l", 960, 5.625), ("yolov8n", 320, 0.175)],
)
def test_a_detect_quote_even_where_the_weights_are_missing(client, picture_of, model, size, tokens):
    wanted = body(client, "detect", picture_of(800, 600), model=model, img_size=size)
    assert client.quote(wanted)["tokens"] == tokens


@pytest.mark.parametrize(
    ("params", "tokens"),
    [
        ({"enhance_level": 1}, 6),
        ({"enhance_level": 2}, 9),
        ({"enhance_level": 3}, 11),
        ({"enhance_level": 2, "faces": "many", "max_faces": 3}, 19),
    ],
)
def test_a_face_swap_quote(client, photos, params, tokens):
    wanted = body(client, "face-swap", photos.astronaut, source=photos.hopper, **params)
    assert client.quote(wanted)["tokens"] == tokens


@pytest.mark.parametrize(
    ("size", "params", "tokens"),
    [
        ((800, 600), {"type": "person"}, 11),
        ((1920, 1080), {"type": "building"}, 19),
        ((1920, 1080), {"type": "building", "upscale": 2}, 24),
    ],
)
def test_a_settled_colorize_job_costs_its_worked_price(client, picture_of, size, params, tokens):
    before = client.balance()["available"]
    done = settle(client, body(client, "colorize", picture_of(*size), **params))
    assert done["usage"]["tokens"] == tokens
    assert done["usage"]["remaining_tokens"] == client.balance()["available"]
    assert before - client.balance()["available"] == pytest.approx(tokens, abs=1e-6)


@pytest.mark.parametrize(("level", "tokens"), [(1, 6), (2, 9), (3, 11)])
def test_a_settled_face_swap_costs_its_worked_price(client, photos, level, tokens):
    wanted = body(client, "face-swap", photos.astronaut, source=photos.hopper, enhance_level=level)
    assert settle(client, wanted)["usage"]["tokens"] == tokens


def test_a_settled_detection_costs_its_worked_price_and_names_its_model(
    client, photos, model_mirror
):
    done = settle(client, body(client, "detect", photos.astronaut, model="yolov8n", img_size=320))
    assert done["usage"]["tokens"] == 0.175
    assert done["model"] == "yolov8n@1"
    labels = {found["label"] for found in done["output"]["data"]["predictions"]}
    assert "person" in labels


def test_a_job_over_the_callers_own_quota_is_refused_before_it_runs(client, picture_of):
    wanted = {**body(client, "colorize", picture_of(800, 600), type="person"), "token_quota": 10}
    held = client.balance()["held"]
    with pytest.raises(PaymentRequiredError):
        client.submit(wanted)
    assert client.balance()["held"] == held
