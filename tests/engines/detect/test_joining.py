"""A video detected in parts gives what one run gives."""

import zipfile
from itertools import count

import pytest

from engines.media.index import index_video
from engines.spec import InputFiles, SegmentedEngine
from tests.engines.media.parts import pictures, run_in_parts

SAME_FILES = ("detections.json", "coco.json")


@pytest.fixture
def contexts(context):
    """A run context with a folder of its own at each call."""
    numbers = count()

    def make():
        folder = context.work_dir / str(next(numbers))
        folder.mkdir()
        return type(context)(folder)

    return make


@pytest.fixture
def both(registry, keyed_faces, contexts):
    """Run detection on the clip in one go and in parts; return both results."""

    def run(**asked):
        engine, model = registry.engine("detect"), registry.resolve("detect", "builtin")
        params = engine.params_model(img_size=320, **asked)
        files = InputFiles(keyed_faces, index_video(keyed_faces).info())
        one = engine.run(model, params, files, contexts())
        assert isinstance(engine, SegmentedEngine)
        many, parts = run_in_parts(engine, model, params, keyed_faces, contexts)
        assert len(parts) > 2
        return one, many, parts

    return run


def files_of(result):
    return {file.name: file.path for file in result.files}


def without_times(data):
    return {name: value for name, value in data.items() if name != "timing_ms"}


def test_logs_exports_and_figures_are_the_same(both):
    one, many, parts = both(export=["coco", "yolo"])
    first, second = files_of(one), files_of(many)
    assert set(first) == set(second) == {*SAME_FILES, "labels.zip"}
    for name in SAME_FILES:
        assert second[name].read_bytes() == first[name].read_bytes()
    with zipfile.ZipFile(first["labels.zip"]) as a, zipfile.ZipFile(second["labels.zip"]) as b:
        assert a.namelist() == b.namelist()
        assert [a.read(name) for name in a.namelist()] == [b.read(name) for name in b.namelist()]
    assert without_times(many.data) == without_times(one.data)
    assert set(many.data["timing_ms"]) >= {"index", "join"}
    assert many.data["classes"]["face"]["frames"] > 0
    assert many.usage.work == one.usage.work
    assert many.usage.gpu_ms == pytest.approx(sum(part.usage.gpu_ms for part in parts))
    assert sum(part.usage.work.quantities["frames"] for part in parts) == many.data["frames"]


def test_the_drawn_video_is_the_same_where_nothing_is_lost_in_encoding(both):
    one, many, parts = both(annotate=True, quality="lossless")
    assert [part.files[0].name for part in parts] == ["annotated.mp4"] * len(parts)
    assert many.files[0].name == "annotated.mp4"
    assert pictures(many.files[0].path) == pictures(one.files[0].path)
