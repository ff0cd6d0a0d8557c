"""`fp16`: the variant of the model that runs, where there is one."""

import numpy as np
import pytest

from engines.colorize.engine import create
from engines.colorize.params import ColorizeParams
from engines.errors import InvalidInputError
from engines.halving.variant import convert
from engines.registry import open_registry
from engines.spec import InputMedia, RunItem
from tests.engines.colorize.conftest import services_of

SMALL = {"type": "building", "input_size": 128}


@pytest.fixture(scope="module")
def halved(tmp_path_factory, model_mirror):
    registry = open_registry(store=tmp_path_factory.mktemp("half"))
    network = model_mirror / "stubs" / "stub_ddcolor.onnx"
    registry.add("ddcolor-tiny", network, licence="MIT")
    convert(registry, "colorize", "ddcolor-tiny@1")
    yield services_of(registry)
    registry.sessions.close()


def test_it_runs_the_variant_and_says_so(halved, as_files, context, camera):
    engine, model = create(halved), halved.registry.resolve("colorize", "ddcolor-tiny")
    files = as_files(camera)
    whole = engine.run(model, ColorizeParams(**SMALL), files, context)
    half = engine.run(model, ColorizeParams(**SMALL, fp16=True), files, context)
    assert (whole.data["model"], whole.usage.precision) == ("ddcolor-tiny@1", "fp32")
    assert (half.data["model"], half.usage.model, half.usage.precision) == (
        "ddcolor-tiny@2",
        "ddcolor-tiny@2",
        "fp16",
    )
    variant = halved.registry.resolve("colorize", "ddcolor-tiny@2")
    assert half.data["weights_sha256"] == variant.weights[0].sha256
    assert half.usage.work == whole.usage.work  # priced alike


def test_it_is_planned_and_runs_in_company(halved, as_files, context, camera):
    engine, model = create(halved), halved.registry.resolve("colorize", "ddcolor-tiny")
    params, files = ColorizeParams(**SMALL, fp16=True), as_files(camera)
    engine.plan(model, params, InputMedia(files.target_info))
    [first, second] = engine.run_many([RunItem(model, params, files, context)] * 2)
    assert first.data["model"] == second.data["model"] == "ddcolor-tiny@2"
    keys = [
        engine.batch_key(model, ColorizeParams(**SMALL, fp16=half), InputMedia(files.target_info))
        for half in (False, True)
    ]
    assert keys[0] != keys[1]


def test_without_a_variant_the_refusal_names_the_command(ddcolor, as_files):
    model = ddcolor.registry.resolve("colorize", "ddcolor-modelscope")
    media = InputMedia(as_files(np.zeros((8, 8), np.uint8)).target_info)
    command = "models convert colorize ddcolor-modelscope@1 --fp16"
    with pytest.raises(InvalidInputError, match=command) as no:
        create(ddcolor).plan(model, ColorizeParams(fp16=True), media)
    assert no.value.code == "precision_unavailable"
