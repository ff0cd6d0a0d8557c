import numpy as np
import pytest
from face_networks import landmarks, scrfd

from engines.errors import InvalidInputError
from engines.faces.choice import (
    LANDMARKS_FILE,
    SCRFD_FILES,
    YUNET_FILE,
    DetectorName,
    Search,
    face_detector,
    open_detector,
)
from engines.faces.detectors.haar import HaarFaces
from engines.presence import Presence
from engines.registry import Registry, Services, open_registry
from engines.runners.ort import open_onnx
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


TEN, TWO = SCRFD_FILES


@pytest.fixture
def opened(tmp_path, request):
    """Open a detector where only these files are on the machine."""

    def open_with(search: Search, *files: str):
        paths = {
            TEN: lambda: scrfd(tmp_path / TEN),
            TWO: lambda: scrfd(tmp_path / TWO, seed=4),
            YUNET_FILE: lambda: request.getfixturevalue("model_mirror") / YUNET_FILE,
            LANDMARKS_FILE: lambda: landmarks(tmp_path / LANDMARKS_FILE),
        }

        def find(name):
            return open_onnx(paths[name](), threads=1) if name in files else None

        def need(name):
            runner = find(name)
            if runner is None:
                raise WeightsError(f"{name} is not here")
            return runner

        return open_detector(search, find=find, need=need, haar=HaarFaces)

    return open_with


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ((TEN, TWO, YUNET_FILE), "scrfd-10g@1"),
        ((TWO, YUNET_FILE), "scrfd-2.5g@1"),
        ((YUNET_FILE,), "yunet@2023mar"),
        ((), "haar@1"),
    ],
)
def test_the_best_detector_that_is_here_looks(files, name, opened):
    assert opened(Search(), *files).name == name


def test_what_was_asked_for_looks_or_it_is_said_that_it_is_not_here(opened):
    everything = (TEN, TWO, YUNET_FILE)
    names = {wanted: opened(Search(wanted), *everything).name for wanted in DetectorName}
    assert list(names.values()) == ["scrfd-10g@1", "scrfd-10g@1", "yunet@2023mar", "haar@1"]
    for wanted, file in ((DetectorName.SCRFD, TEN), (DetectorName.YUNET, YUNET_FILE)):
        with pytest.raises(WeightsError, match=f"{file} is not here"):
            opened(Search(wanted))


def test_a_detector_that_looks_otherwise_has_another_name(opened):
    search = Search(DetectorName.SCRFD, size=320, score=0.6, angles=(0, 180), refines=True)
    detector = opened(search, TEN, LANDMARKS_FILE)
    assert detector.name == "scrfd-10g@1/size=320,score=0.6/angles=0-180+68"
    assert opened(Search(angles=(90,))).name == "haar@1/angles=90"


def test_sixty_eight_points_refine_the_five(opened, astronaut):
    plain = opened(Search(size=320), TEN).detect(astronaut)
    refined = opened(Search(size=320, refines=True), TEN, LANDMARKS_FILE).detect(astronaut)
    assert [face.box for face in refined] == [face.box for face in plain]
    assert len(refined) > 1
    assert any(
        not np.array_equal(before.points, after.points)
        for before, after in zip(plain, refined, strict=True)
    )
    with pytest.raises(WeightsError, match=f"{LANDMARKS_FILE} is not here"):
        opened(Search(refines=True), TEN)


def test_the_cascades_have_neither_size_nor_score(opened):
    for search in (Search(size=320), Search(DetectorName.HAAR, score=0.5)):
        with pytest.raises(InvalidInputError, match="leave size and score out") as caught:
            opened(search)
        assert caught.value.code == "option_unsupported"


def test_a_size_that_the_file_does_not_take_is_refused(opened):
    with pytest.raises(InvalidInputError, match="exported for 640x640 only") as caught:
        opened(Search(DetectorName.YUNET, size=320), YUNET_FILE)
    assert caught.value.code == "img_size_unsupported"
