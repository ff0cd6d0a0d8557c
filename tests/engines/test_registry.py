import shutil

import pytest

from engines.errors import EngineFaultError, InvalidInputError
from engines.manifest import ManifestError
from engines.presence import Presence
from engines.registry import Registry, open_registry
from engines.weights import WeightsError, WeightsStore


@pytest.fixture
def weights(tiny_onnx):
    return tiny_onnx("net.onnx")


@pytest.fixture
def mirror(tmp_path, weights):
    folder = tmp_path / "mirror"
    folder.mkdir()
    shutil.copy(weights, folder)
    return folder


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def registry(engine_folder, weights, store):
    return Registry([engine_folder(weights)], store=store)


def test_a_folder_mirror_is_used_in_place(engine_folder, weights, store, mirror):
    registry = Registry([engine_folder(weights)], store=store, mirror=str(mirror))
    model = registry.resolve("sums", "net")
    assert registry.weights_path(model) == mirror / "net.onnx"
    assert not store.exists()


def test_without_a_model_the_first_that_can_run_is_taken(engine_folder, weights, store, mirror):
    folder = engine_folder(weights)
    assert Registry([folder], store=store).resolve("sums", None).id == "builtin@1"
    there = Registry([folder], store=store, mirror=str(mirror))
    assert there.resolve("sums", None).id == "net@1"


@pytest.mark.parametrize("asked", ["net", "net@1", "tiny", "tiny@1"])
def test_names_versions_and_aliases_lead_to_the_model(registry, asked):
    assert registry.resolve("sums", asked).id == "net@1"


@pytest.mark.parametrize("asked", ["nett", "net@2", "net@", "", "@1"])
def test_an_unknown_model_is_refused_with_the_known_ones(registry, asked):
    with pytest.raises(InvalidInputError) as refused:
        registry.resolve("sums", asked)
    assert refused.value.code == "unknown_model"
    assert "net, big, builtin" in refused.value.detail


def test_an_unknown_engine_is_refused(registry):
    with pytest.raises(InvalidInputError) as refused:
        registry.resolve("divisions", None)
    assert refused.value.code == "unknown_engine"


def test_missing_weights_say_which_file_whose_licence_and_how_to_get_it(registry):
    model = registry.resolve("sums", "net")
    assert not registry.available(model)
    for call in (registry.require, registry.weights_path):
        with pytest.raises(WeightsError) as refused:
            call(model)
        assert refused.value.code == "weights_missing"
        for word in ("net.onnx", "MIT", "`pixelmeter models pull net`"):
            assert word in refused.value.detail


def test_a_model_that_waits_for_weights_says_how_to_register_them(registry):
    with pytest.raises(WeightsError, match="pixelmeter models add big"):
        registry.require(registry.resolve("sums", "big"))
    with pytest.raises(WeightsError, match="pixelmeter models add big"):
        registry.pull("big")


def test_other_bytes_of_the_same_size_are_never_used(engine_folder, weights, store, mirror):
    registry = Registry([engine_folder(weights)], store=store, mirror=str(mirror))
    content = bytearray((mirror / "net.onnx").read_bytes())
    content[-1] ^= 1
    (mirror / "net.onnx").write_bytes(content)
    with pytest.raises(WeightsError) as refused:
        registry.weights_path(registry.resolve("sums", "net"))
    assert refused.value.code == "weights_corrupt"


def test_pull_copies_from_a_folder_mirror_into_the_store(engine_folder, weights, store, mirror):
    registry = Registry([engine_folder(weights)], store=store, mirror=str(mirror))
    assert registry.pull("net") == [store / "net.onnx"]
    assert registry.weights_path(registry.resolve("sums", "net")) == store / "net.onnx"


def test_pull_brings_what_every_engine_needs_for_a_name(monkeypatch, store):
    fetched = []
    monkeypatch.setattr(WeightsStore, "fetch", lambda _, file, __: fetched.append(file.file))
    open_registry(store=store).pull("builtin")  # of detect, which needs nothing, and colorize
    # what enlarges is offered by nobody here: the operator brings it, or names a mirror
    assert fetched == ["face_detection_yunet_2023mar.onnx"]
    fetched.clear()
    open_registry(store=store, mirror="https://models.example").pull("builtin")
    assert fetched == ["face_detection_yunet_2023mar.onnx", "realesr_animevideov3_x4.onnx"]


def test_two_engines_cannot_give_one_name_to_a_network(engine_folder, weights, store, tmp_path):
    first = engine_folder(weights)
    second = tmp_path / "products"
    shutil.copytree(first, second)
    manifest = second / "engine.toml"
    manifest.write_text(manifest.read_text().replace('name = "sums"', 'name = "products"'))
    with pytest.raises(ManifestError, match="already; choose a new name"):
        Registry([first, second], store=store)


def test_verify_tells_every_file(engine_folder, weights, store, mirror):
    folder = engine_folder(weights)
    found = {v.model: v.presence for v in Registry([folder], store=store).verify()}
    assert found == {"net@1": Presence.MISSING, "big@1": Presence.UNREGISTERED}
    there = Registry([folder], store=store, mirror=str(mirror))
    assert there.verify()[0].presence is Presence.OK
    (mirror / "net.onnx").write_bytes(b"x")
    assert there.verify()[0].presence is Presence.CORRUPT


def test_an_operators_file_fills_the_model_that_waited(registry, tiny_onnx, engine_folder, weights):
    model = registry.add("big", tiny_onnx("mine.onnx"), licence="AGPL-3.0")
    assert model.id == "big@1"
    assert model.options["inputs"] == {"images": [-1, 3, 64, 64]}
    assert registry.weights_path(model).name.startswith("big-1-")
    assert registry.resolve("sums", None).id == "big@1"


def test_registered_weights_are_seen_by_another_process(
    registry, tiny_onnx, engine_folder, weights, store
):
    registry.add("big", tiny_onnx("mine.onnx"), licence='"quoted" \\ and\nlong')
    again = Registry([engine_folder(weights)], store=store)
    model = again.resolve("sums", "big")
    assert model.weights[0].licence == '"quoted" \\ and\nlong'
    assert again.weights_path(model).is_file()


def test_new_weights_of_a_model_become_its_next_version(registry, tiny_onnx):
    model = registry.add("net", tiny_onnx("other.onnx", shape=(1, 3, 32, 32)), licence="MIT")
    assert model.id == "net@2"
    assert registry.resolve("sums", "net").id == "net@2"
    assert registry.resolve("sums", "net@1").weights[0].file == "net.onnx"
    assert registry.add("net", tiny_onnx("third.onnx"), licence="MIT").id == "net@3"


def test_what_is_no_network_is_not_registered(registry, tmp_path, store):
    page = tmp_path / "page.onnx"
    page.write_text("<html>")
    with pytest.raises(EngineFaultError) as refused:
        registry.add("big", page, licence="MIT")
    assert refused.value.code == "weights_unreadable"
    assert not store.exists()


def test_a_builtin_model_takes_no_weights(registry, tiny_onnx):
    with pytest.raises(InvalidInputError, match="built in") as refused:
        registry.add("builtin", tiny_onnx("mine.onnx"), licence="MIT")
    assert refused.value.code == "weights_unused"


def test_a_wrong_sha256_registers_nothing(registry, tiny_onnx, store):
    with pytest.raises(InvalidInputError, match="nothing was registered"):
        registry.add("big", tiny_onnx("mine.onnx"), licence="MIT", sha256="0" * 64)
    assert not store.exists()


def test_the_shipped_engines_can_be_created_without_any_weights(store):
    registry = open_registry(store=store)
    assert set(registry.engines()) == {"colorize", "detect", "face-swap"}
    for name in registry.engines():
        assert registry.available(registry.resolve(name, None)), name
