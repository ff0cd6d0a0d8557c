"""TensorRT on a real device: results, times, memory, half precision, the kernel cache."""

import gc
import hashlib
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from gpu_networks import CASES

from engines.errors import EngineError
from engines.runners.host import nvidia_gpus

pytestmark = pytest.mark.gpu
MIB = 2**20


@pytest.fixture(scope="module", params=["tensorrt", "tensorrt-rtx"])
def open_plan(request, device, tmp_path_factory):
    """Build for this device and open; a flavour that cannot is skipped with its own reason."""
    from engines.atomic import write_whole
    from engines.plans.build import check_target
    from engines.plans.cache import PlanCache
    from engines.plans.making import Wanted, make_plan
    from engines.profiles import choose_profiles
    from engines.runners.flavours import FlavourName, RuntimeCache, load_flavour
    from engines.runners.ort import onnx_facts
    from engines.runners.trt import TrtRunner

    gpus = nvidia_gpus()
    try:
        flavour = load_flavour(FlavourName(request.param))
        check_target(flavour, gpus[0].target, gpus)
    except EngineError as error:
        pytest.skip(error.detail)
    cache = PlanCache(tmp_path_factory.mktemp("plans"))

    def open_it(model: bytes, case):
        facts = onnx_facts(model)
        declared = {spec.name: spec.shape for spec in facts.inputs}
        profiles = (case.profile,) if case.profile else ()
        chosen = choose_profiles(declared, profiles, file=case.file)
        wanted = Wanted(model, facts, hashlib.sha256(model).hexdigest(), chosen)
        made = make_plan(wanted, flavour=flavour, target=gpus[0].target, cache=cache)
        print(f"{case.file}: plan of {made.plan.size / 1e6:.1f} MB in {made.seconds:.1f} s")
        return TrtRunner(
            made.plan.read(),
            flavour=flavour,
            device=device,
            metadata=made.plan.metadata,
            precision=made.plan.precision,
            key=made.plan.key,
            cache=RuntimeCache(made.plan.kernels(device.cuda.device), write=write_whole),
        )

    return open_it


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.file)
def test_a_plan_gives_what_the_cpu_gives(open_plan, mirror, picture, case):
    from engines.runners.ort import OrtRunner

    model = (mirror / case.file).read_bytes()
    with open_plan(model, case) as runner, OrtRunner(model, threads=8) as reference:
        name = runner.inputs[0].name
        for shape in case.shapes:
            feeds = {name: picture(shape, case.values)}
            ours = runner.run(feeds)
            assert set(runner.stages_ms) == {"upload", "execute", "download"}
            for output, array in reference.run(feeds).items():
                off = np.abs(ours[output] - array).max() / max(np.abs(array).max(), 0.1)
                print(f"{case.file} {shape} {output}: {off:.2e} of the largest value")
                assert ours[output].shape == array.shape
                assert off < case.tolerance


def test_half_precision_is_near_and_closing_gives_the_memory_back(
    open_plan, device, mirror, picture
):
    pytest.importorskip("onnx")
    from engines.halving.graph import halve

    case = next(each for each in CASES if each.file == "yolov8n_recon_dyn.onnx")
    model = (mirror / case.file).read_bytes()
    feeds = {"images": picture((8, 3, 640, 640))}
    with open_plan(model, case) as whole:
        reference = whole.run(feeds)["output0"]
    gc.collect()
    with device.turn() as cuda:
        before = cuda.memory_used()
    with open_plan(halve(model), case) as half:
        assert half.precision == "fp16"
        ours = half.run(feeds)["output0"]
        held = half.device_bytes
    gc.collect()
    with device.turn() as cuda:
        after = cuda.memory_used()
    off = np.linalg.norm(ours - reference) / np.linalg.norm(reference)
    print(
        f"fp16 differs by {off:.2e}; held {held / MIB:.0f} MiB, left {(after - before) / MIB:.0f}"
    )
    assert off < 0.02
    assert after - before < 32 * MIB
