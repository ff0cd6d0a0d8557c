"""One name, several versions: which one a new job gets, and the way back."""

import shutil
import threading

import pytest

from engines.activation import activate, activate_previous
from engines.errors import InvalidInputError
from engines.manifest import ManifestError
from engines.overlay import Active, Overlay, Registered
from engines.registry import OVERLAY_FILE, Registry
from engines.weights import WeightsError


@pytest.fixture
def weights(tiny_onnx):
    return tiny_onnx("net.onnx")


@pytest.fixture
def opened(engine_folder, weights, tmp_path):
    """Open the registry anew, as another process does."""
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    shutil.copy(weights, mirror)
    return lambda: Registry([engine_folder(weights)], store=tmp_path / "store", mirror=str(mirror))


@pytest.fixture
def registry(opened):
    return opened()


def add(registry, tiny_onnx, side, **options):
    path = tiny_onnx(f"net{side}.onnx", shape=("n", 3, side, side))
    return registry.add("net", path, licence="MIT", **options)


def test_a_name_means_its_newest_version_until_somebody_decides(registry, tiny_onnx):
    assert registry.resolve("sums", "net").id == "net@1"
    add(registry, tiny_onnx, 32)
    assert registry.resolve("sums", "net").id == "net@2"
    assert registry.resolve("sums", None).id == "net@2"


def test_a_switch_is_seen_by_processes_that_run(registry, opened, tiny_onnx):
    other = opened()
    add(registry, tiny_onnx, 32)
    assert activate(registry, "sums", "net@1") == Active("sums", "net", "1", previous="2")
    assert other.resolve("sums", "net").id == "net@1"
    assert other.resolve("sums", "tiny").id == "net@1"  # an alias
    assert other.resolve("sums", "net@2").id == "net@2"
    assert [other.is_active("sums", each) for each in other.manifest("sums").models[:2]] == [
        True,
        False,
    ]


def test_one_command_leads_back_and_forth(registry, tiny_onnx):
    add(registry, tiny_onnx, 32)
    activate(registry, "sums", "net@1")
    assert activate_previous(registry, "sums", "net").version == "2"
    assert registry.resolve("sums", "net").id == "net@2"
    assert activate_previous(registry, "sums", "tiny").version == "1"
    assert registry.resolve("sums", "net").id == "net@1"


def test_activating_twice_does_not_forget_the_way_back(registry, tiny_onnx):
    add(registry, tiny_onnx, 32)
    activate(registry, "sums", "net@1")
    activate(registry, "sums", "net@1")
    assert activate_previous(registry, "sums", "net").version == "2"


def test_weights_can_be_brought_without_going_live(registry, tiny_onnx):
    assert add(registry, tiny_onnx, 32, activate=False).id == "net@2"
    assert registry.resolve("sums", "net").id == "net@1"
    add(registry, tiny_onnx, 16)
    assert registry.resolve("sums", "net").id == "net@1"  # it was decided
    assert activate(registry, "sums", "net@3").previous == "1"


def test_the_first_weights_of_a_model_go_live_either_way(registry, tiny_onnx):
    registry.add("big", tiny_onnx("big.onnx"), licence="MIT", activate=False)
    assert registry.resolve("sums", "big").id == "big@1"


@pytest.mark.parametrize(
    ("engine", "model", "code"),
    [
        ("sums", "net", "version_missing"),
        ("sums", "net@9", "unknown_model"),
        ("sums", "nett@1", "unknown_model"),
        ("divisions", "net@1", "unknown_engine"),
        ("sums", "big@1", "weights_missing"),
    ],
)
def test_what_cannot_be_run_cannot_be_activated(registry, engine, model, code):
    with pytest.raises((InvalidInputError, WeightsError)) as refused:
        activate(registry, engine, model)
    assert refused.value.code == code
    assert not (registry.store_folder / OVERLAY_FILE).exists()


def test_weights_whose_bytes_changed_are_not_activated(registry, tiny_onnx):
    model = add(registry, tiny_onnx, 32, activate=False)
    path = registry.weights_path(model)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(WeightsError) as refused:
        activate(registry, "sums", "net@2")
    assert refused.value.code == "weights_corrupt"
    assert registry.resolve("sums", "net").id == "net@1"


def test_without_a_switch_there_is_no_way_back(registry, tiny_onnx):
    for _ in range(2):
        with pytest.raises(InvalidInputError, match="nothing to go back to") as refused:
            activate_previous(registry, "sums", "net")
        assert refused.value.code == "no_previous_version"
        add(registry, tiny_onnx, 32, activate=False)


def test_a_decision_for_a_version_that_is_gone_is_said_and_can_be_mended(registry, tiny_onnx):
    add(registry, tiny_onnx, 32)
    registry.overlay.change(
        lambda now: type(now)(now.registered, (Active("sums", "net", "7", "1"),))
    )
    with pytest.raises(ManifestError, match="models activate sums net@VERSION"):
        registry.resolve("sums", "net")
    activate(registry, "sums", "net@2")
    assert registry.resolve("sums", "net").id == "net@2"


def test_changes_of_many_writers_are_all_kept(registry, tiny_onnx):
    entry = add(registry, tiny_onnx, 32).weights[0]
    path = registry.store_folder / OVERLAY_FILE
    writers = [
        threading.Thread(
            target=lambda version=version: Overlay(path).append(
                Registered(model="net", version=str(version), weights=entry)
            )
        )
        for version in range(3, 23)
    ]
    for each in writers:
        each.start()
    for each in writers:
        each.join()
    versions = {int(each.version) for each in registry.overlay.read().registered}
    assert versions == set(range(2, 23))
