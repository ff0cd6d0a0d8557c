"""For tests on a real NVIDIA device; everywhere else they are skipped.

Nothing of the web, the queue or the database is needed: ``make gpu-test`` runs this folder alone on
a host that has no more than the engines' libraries.
"""

import os
from pathlib import Path

import numpy as np
import pytest

from engines.runners.host import nvidia_gpus

SEED = 7


def pytest_collection_modifyitems(items):
    gpus = nvidia_gpus()
    for item in items:
        if "gpu" in Path(item.fspath).parts and not gpus:
            item.add_marker(pytest.mark.skip(reason="no NVIDIA device here"))


@pytest.fixture(scope="session")
def device():
    """The device of this process, or a skip that says what is missing."""
    pytest.importorskip("pycuda.driver", reason="pycuda is not installed (extra gpu)")
    from engines.runners.cuda import open_cuda

    device = open_cuda(0)
    print(f"\n{device.cuda.device}, {nvidia_gpus()[0].target}")
    return device


@pytest.fixture(scope="session")
def mirror() -> Path:
    folder = os.environ.get("PIXELMETER_MODEL_MIRROR")
    if not folder:
        pytest.skip("PIXELMETER_MODEL_MIRROR is not set")
    return Path(folder).resolve()


@pytest.fixture(scope="session")
def picture():
    """Feeds that look like photographs: smooth fields with edges and grain, by input range."""

    def make(shape, values=(0.0, 1.0)):
        import cv2

        rng = np.random.default_rng(SEED)
        planes = []
        for _ in range(int(np.prod(shape[:-2]))):
            coarse = rng.random((9, 9)).astype(np.float32)
            plane = cv2.resize(coarse, shape[-2:][::-1], interpolation=cv2.INTER_CUBIC)
            cv2.rectangle(plane, (shape[-1] // 4, shape[-2] // 4), (shape[-1] // 2,) * 2, 0.9, -1)
            planes.append(plane + rng.normal(0, 0.02, plane.shape).astype(np.float32))
        field = np.clip(np.stack(planes).reshape(shape), 0, 1)
        return np.ascontiguousarray(values[0] + field * (values[1] - values[0]), dtype=np.float32)

    return make
