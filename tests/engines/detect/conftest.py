import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import skimage
from numpy.typing import NDArray

from engines.detect.params import DetectParams
from engines.media.ffmpeg import find_ffmpeg
from engines.media.images import read_image
from engines.media.limits import MediaLimits
from engines.media.probe import probe
from engines.registry import Registry, open_registry
from engines.runners.base import TensorSpec
from engines.runners.fake import FakeRunner
from engines.spec import EngineResult, InputFiles, InputMedia, RunContext, Work


@pytest.fixture(scope="session")
def scenes() -> Callable[[str], NDArray[np.uint8]]:
    """Photographs inside scikit-image, BGR, by name: astronaut, chelsea (a cat), coffee, rocket."""
    folder = Path(skimage.__file__).parent / "data"

    def load(name: str) -> NDArray[np.uint8]:
        return read_image(next(folder.glob(f"{name}.*"))).pixels

    return load


@pytest.fixture
def fake_network() -> Callable[..., FakeRunner]:
    """A network that answers every picture of a batch with the same rows and keeps its feeds."""

    def make(
        rows: NDArray[Any],
        *,
        shape: tuple[int | None, ...] = (None, 3, None, None),
        metadata: dict[str, str] | None = None,
    ) -> FakeRunner:
        feeds_seen: list[NDArray[Any]] = []

        def compute(feeds: Any) -> dict[str, NDArray[Any]]:
            feeds_seen.append(feeds["images"])
            return {"output0": np.repeat(rows[None], len(feeds["images"]), axis=0)}

        runner = FakeRunner(
            compute,
            inputs=(TensorSpec("images", shape, np.dtype(np.float32)),),
            outputs=(TensorSpec("output0", (None, *rows.shape), np.dtype(np.float32)),),
            metadata=metadata,
        )
        runner.feeds_seen = feeds_seen  # type: ignore[attr-defined]
        return runner

    return make


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """The shipped engines without any weights."""
    return open_registry(store=tmp_path / "store")


@pytest.fixture
def run(context: RunContext) -> Callable[..., tuple[Work, EngineResult]]:
    """Plan and run detection on a file as the platform does."""

    def go(
        registry: Registry, path: Path, model: str | None, **params: object
    ) -> tuple[Work, EngineResult]:
        engine = registry.engine("detect")
        version = registry.resolve("detect", model)
        info = probe(path, MediaLimits())
        asked = DetectParams.model_validate(params)
        plan = engine.plan(version, asked, InputMedia(info))
        return plan, engine.run(version, asked, InputFiles(path, info), context)

    return go


@pytest.fixture(scope="session")
def keyed_faces(tmp_path_factory: pytest.TempPathFactory, scenes) -> Path:
    """A face that wanders in and out of the picture, with a key frame every five frames."""
    folder = tmp_path_factory.mktemp("keyed")
    face = cv2.resize(scenes("astronaut"), (256, 256))
    for number in range(20):
        picture = np.full((256, 320, 3), 60, np.uint8)
        if number % 10 < 7:
            picture[:, number * 3 : number * 3 + 256] = face
        assert cv2.imwrite(str(folder / f"{number:03}.png"), picture)
    path = folder / "faces.mp4"
    command = [find_ffmpeg(), "-v", "error", "-framerate", "10", "-i", str(folder / "%03d.png")]
    command += ["-g", "5", "-sc_threshold", "0", "-pix_fmt", "yuv420p", str(path)]
    subprocess.run(command, check=True)
    return path
