import pytest

from engines.faces.choice import YUNET_FILE, face_detector
from engines.presence import Presence
from engines.registry import Registry, Services, open_registry
from engines.weights import WeightsError


def services(registry: Registry) -> Services:
    return Services(registry=registry, sessions=registry.sessions, limits=registry.limits)


def classical(registry: Registry):
    return registry.resolve("face-swap", "classical")


def test_without_its_file_the_cascades_look_and_are_loaded_once(tmp_path):
    registry = open_registry(store=tmp_path / "store")
    first = face_detector(services(registry), classical(registry))
    again = face_detector(services(registry), classical(registry))
    assert first.value.name == "haar@1"
    assert again.value is first.value
    assert again.cold_start_ms == 0


def test_a_model_is_available_without_its_extras_and_verify_says_what_is_missed(tmp_path):
    registry = open_registry(store=tmp_path / "store")
    assert registry.available(classical(registry))
    verdicts = [each for each in registry.verify() if each.model == "classical@1"]
    [verdict] = [each for each in verdicts if each.file == YUNET_FILE]
    assert {each.presence for each in verdicts} == {Presence.MISSING}
    assert "runs without" in verdict.detail
    assert "pixelmeter models pull classical" in verdict.detail


def test_with_its_file_yunet_looks(tmp_path, model_mirror):
    registry = open_registry(store=tmp_path / "store", mirror=str(model_mirror))
    assert face_detector(services(registry), classical(registry)).value.name == "yunet@2023mar"
    registry.sessions.close()


def test_pulling_a_model_brings_those_extras_that_somebody_offers(tmp_path, model_mirror):
    registry = open_registry(store=tmp_path / "store", mirror=str(model_mirror))
    pulled = [path.name for path in registry.pull("classical")]
    declared = [file.file for file in classical(registry).extras]
    assert YUNET_FILE in pulled
    assert pulled == [file for file in declared if (model_mirror / file).is_file()]
    assert len(pulled) < len(declared)


def test_another_file_under_that_name_is_an_error_and_not_a_reason_to_look_worse(tmp_path):
    store = tmp_path / "store"
    store.mkdir()
    (store / YUNET_FILE).write_bytes(b"not a network")
    registry = open_registry(store=store)
    with pytest.raises(WeightsError) as caught:
        face_detector(services(registry), classical(registry))
    assert caught.value.code == "weights_corrupt"
