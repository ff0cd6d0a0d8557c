"""Every engine keeps the promise of ``run_items``, detect also that of ``BatchEngine``."""

import pytest

from engines.errors import CanceledError, InvalidInputError
from engines.manifest import load_manifest, shipped_folders
from engines.many import batch_key, run_items
from engines.media.limits import MediaLimits
from engines.media.probe import probe
from engines.registry import open_registry
from engines.sessions import Sessions
from engines.spec import BatchEngine, EngineResult, InputFiles, RunItem
from tests.engines.conftest import Context

ENGINES = [load_manifest(folder / "engine.toml") for folder in shipped_folders()]


@pytest.fixture
def item(tmp_path, photo):
    """An item of an engine on the astronaut, in a folder of its own."""
    made = []

    def make(registry, engine, *, model=None, target=photo, canceled=False, **params):
        folder = tmp_path / f"item{len(made)}"
        folder.mkdir()
        made.append(folder)
        info = probe(photo, MediaLimits())
        sources = () if registry.manifest(engine).sources == "none" else (photo,)
        return RunItem(
            registry.resolve(engine, model),
            registry.engine(engine).params_model.model_validate(params),
            InputFiles(target, info, sources),
            Context(folder, canceled=canceled),
        )

    return make


@pytest.fixture
def damaged(tmp_path, photo):
    """The first bytes of the astronaut."""
    path = tmp_path / "start.png"
    path.write_bytes(photo.read_bytes()[:60])
    return path


@pytest.mark.parametrize("engine", [manifest.name for manifest in ENGINES])
def test_one_bad_item_of_any_engine_fails_alone_and_in_its_place(registry, item, damaged, engine):
    ways = [{}, {"target": damaged}, {"canceled": True}, {}]
    items = [item(registry, engine, **way) for way in ways]
    first, second, third, fourth = run_items(registry.engine(engine), iter(items))
    assert isinstance(second, InvalidInputError)
    assert second.code in {"image_truncated", "media_unreadable"}
    assert isinstance(third, CanceledError)
    assert items[2].context.reports == []
    for each, outcome in ((items[0], first), (items[3], fourth)):
        assert isinstance(outcome, EngineResult)
        assert outcome.usage.work.quantities["images"] == 1
        assert outcome.usage.gpu_ms > 0
        assert each.context.reports[-1][0] == each.context.reports[-1][1]
        assert all(file.path.parent == each.context.work_dir for file in outcome.files)
    alone = registry.engine(engine).run(
        items[0].model, items[0].params, items[0].files, items[0].context
    )
    keep = {"timing_ms"}
    assert {key: value for key, value in first.data.items() if key not in keep} == {
        key: value for key, value in alone.data.items() if key not in keep
    }


def test_pictures_of_one_model_and_size_gather_and_nothing_else_does(registry, item):
    engine = registry.engine("detect")
    assert isinstance(engine, BatchEngine)

    def key(**asked):
        return batch_key(engine, item(registry, "detect", **asked))

    assert key(model="builtin") == key(model="builtin", conf=0.9, annotate=True, img_size=640)
    different = [key(model="builtin"), key(model="builtin", img_size=320), key(model="yolov8n")]
    assert len(set(different)) == 3
    assert key(model="yolox-nano", img_size=640) is None  # refused when it runs
    assert not isinstance(registry.engine("face-swap"), BatchEngine)
    assert batch_key(registry.engine("face-swap"), item(registry, "face-swap")) is None


@pytest.fixture(scope="module")
def networks(tmp_path_factory, model_mirror):
    """Real weights, on two lanes."""
    store = tmp_path_factory.mktemp("networks")
    return open_registry(store=store, mirror=str(model_mirror), sessions=Sessions(threads=2))


@pytest.mark.parametrize("model", ["yolov8n", "yolox-nano"])
def test_pictures_run_together_are_found_as_alone(networks, item, photo, cat_photo, model):
    engine = networks.engine("detect")
    targets = [photo, cat_photo, photo, cat_photo, photo]
    items = [item(networks, "detect", model=model, target=each) for each in targets]
    for each, outcome in zip(items, run_items(engine, items), strict=True):
        alone = engine.run(each.model, each.params, each.files, each.context)
        assert outcome.data["predictions"] == alone.data["predictions"]
        assert outcome.usage.model == alone.usage.model
        assert outcome.usage.wall_ms >= outcome.usage.gpu_ms > 0


def test_only_the_first_item_tells_the_cold_start(tmp_path, model_mirror, item):
    registry = open_registry(store=tmp_path / "s", mirror=str(model_mirror))
    items = [item(registry, "detect", model="yolov8n", img_size=320) for _ in range(3)]
    cold = [each.usage.cold_start_ms for each in run_items(registry.engine("detect"), items)]
    assert cold[0] > 0
    assert cold[1:] == [0, 0]


def test_items_without_weights_all_say_so(registry, item):
    items = [item(registry, "detect", model="yolov8n") for _ in range(3)]
    codes = [each.code for each in run_items(registry.engine("detect"), items)]
    assert codes == ["weights_missing"] * 3


def test_items_of_another_key_are_refused_not_run(registry, item):
    items = [item(registry, "detect", model="builtin", img_size=side) for side in (320, 640)]
    first, second = registry.engine("detect").run_many(items)
    assert isinstance(first, EngineResult)
    assert "different keys" in second.detail


def test_an_item_in_no_company_has_all_threads_to_itself(networks, item, monkeypatch):
    monkeypatch.setattr(networks.sessions, "lanes", None)  # to ask for lanes would be an error
    [outcome] = run_items(networks.engine("detect"), [item(networks, "detect", model="yolov8n")])
    assert isinstance(outcome, EngineResult)
