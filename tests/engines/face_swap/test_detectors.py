"""The parameter ``detector``: which one looks for faces, and how."""

import sys
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from engines.errors import InvalidInputError
from engines.face_swap.loading import load_tools
from engines.face_swap.networks import Networks
from engines.face_swap.params import FaceSwapParams
from engines.face_swap.timing import LaneClock
from engines.metering import StageClock
from engines.registry import Services
from engines.weights import WeightsError

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "peers"))

from face_networks import scrfd


def test_a_face_on_its_head_is_swapped_where_the_job_says_so(run, astronaut, hopper):
    on_its_head = np.ascontiguousarray(astronaut[::-1, ::-1])
    with pytest.raises(InvalidInputError) as caught:
        run(on_its_head, hopper, model="classical", detector={"name": "haar"})
    assert caught.value.code == "no_face_found"
    result = run(on_its_head, hopper, model="classical", detector={"angles": [0, 180]})
    (face,) = result.data["faces"]
    eyes, mouth = np.mean(face["points"][:2], axis=0), np.mean(face["points"][3:], axis=0)
    assert mouth[1] < eyes[1]
    assert result.data["detector"] == "yunet@2023mar/angles=0-180"


def test_the_detector_that_an_operator_brought_looks_first(stub_registry, tmp_path):
    registry = stub_registry(det_10g__onnx=scrfd(tmp_path / "det_10g.onnx"))
    services = Services(registry=registry, sessions=registry.sessions, limits=registry.limits)
    model = registry.resolve("face-swap", "classical")

    def name(**wanted):
        params = FaceSwapParams.model_validate({"detector": wanted})
        return load_tools(Networks(services, model, LaneClock(StageClock())), params).detector.name

    assert name() == "scrfd-10g@1"
    assert name(name="yunet") == "yunet@2023mar"
    assert name(size=320, angles=[0, 90]) == "scrfd-10g@1/size=320/angles=0-90"


def test_a_detector_that_is_not_here_is_named_with_its_licence_and_the_command(run, astronaut):
    for wanted, file in (({"name": "scrfd"}, "det_10g.onnx"), ({"landmarks": 68}, "2dfan4.onnx")):
        with pytest.raises(WeightsError) as caught:
            run(astronaut, astronaut, detector=wanted)
        assert caught.value.code == "weights_missing"
        assert file in caught.value.detail
        assert "pixelmeter models" in caught.value.detail


@pytest.mark.parametrize(
    "wanted",
    [
        {"size": 100},
        {"size": 650},
        {"score": 0},
        {"angles": [45]},
        {"angles": []},
        {"angles": [0, 0]},
        {"landmarks": 106},
        {"name": "mtcnn"},
    ],
)
def test_what_no_detector_can_is_refused(wanted):
    with pytest.raises(ValidationError):
        FaceSwapParams.model_validate({"detector": wanted})


def test_one_angle_may_be_given_alone():
    params = FaceSwapParams.model_validate({"detector": {"angles": 90}})
    assert params.detector.search().angles == (90,)
