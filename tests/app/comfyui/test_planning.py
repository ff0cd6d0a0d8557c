"""Which model colours a prompt's picture, and what its client is told about it."""

import pytest

from engines.registry import open_registry
from tests.app.comfyui.conftest import graph, picture
from tests.networks import write_colours


@pytest.fixture
def with_tiny(settings, tmp_path):
    """An operator brought a network of DDColor's form as ``ddcolor-tiny``."""
    registry = open_registry(store=settings.home / "models")
    registry.add("ddcolor-tiny", write_colours(tmp_path / "colours.onnx"), licence="CC0")
    registry.sessions.close()


def said(served, prompt_id):
    entry = served.http.get(f"/history/{prompt_id}").json()[prompt_id]
    return entry["outputs"]["3"].get("text")


def test_the_checkpoint_that_is_named_colours_as_its_node_does(with_tiny, served, workers):
    workflow = graph(served.upload(picture()), checkpoint="ddcolor_paper_tiny.pth")
    prompt_id = served.prompt(workflow)
    [job] = workers.jobs()
    assert job["model"] == "ddcolor-tiny@1"
    assert (job["params"]["chroma"], job["params"]["input_size"]) == ("reference", 512)
    assert job["params"]["type"] == "auto"
    workers.run(job["id"])
    assert said(served, prompt_id) is None


def test_another_model_is_never_taken_in_silence(with_tiny, served, workers):
    prompt_id = served.prompt(graph(served.upload(picture())))
    [job] = workers.jobs()
    assert job["model"] == "ddcolor-tiny@1"
    assert job["params"]["chroma"] == "guided"
    workers.run(job["id"])
    [told] = said(served, prompt_id)
    assert told.startswith("ddcolor_modelscope.pth is not on this server")


def test_what_the_node_says_beyond_the_original_is_taken(served, workers):
    name = served.upload(picture())
    served.prompt(graph(name, checkpoint="builtin", chroma="bilinear", type="person"))
    [job] = workers.jobs()
    assert job["model"] == "builtin@1"
    assert (job["params"]["chroma"], job["params"]["type"]) == ("bilinear", "person")
