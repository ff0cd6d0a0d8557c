"""A face-swap engine whose learned models are stubs: their exact inputs and outputs, no skill."""

import hashlib
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

import cv2
import numpy as np
import pytest

import engines.face_swap
from engines.face_swap.engine import FaceSwap, create
from engines.media.limits import MediaLimits
from engines.media.probe import probe
from engines.registry import Registry, Services
from engines.spec import EngineResult, InputFiles

FOLDER = Path(engines.face_swap.__file__).parent
STUBS = {
    "inswapper_128.onnx": "stub_inswapper_128.onnx",
    "w600k_r50.onnx": "stub_w600k_r50.onnx",
    "GFPGANv1.4.onnx": "stub_gfpgan_1.4.onnx",
    "xseg_3.onnx": "stub_xseg.onnx",
    "bisenet_resnet_34.onnx": "stub_bisenet.onnx",
}
REAL = (
    "face_detection_yunet_2023mar.onnx",
    "mobilefacenet_foamliu_dynbatch.onnx",
    "realesr_animevideov3_x4.onnx",
)


def declare(text: str, name: str, file: Path) -> str:
    """The manifest with other bytes declared for a file."""
    content = file.read_bytes()
    facts = f'sha256 = "{hashlib.sha256(content).hexdigest()}"\nbytes = {len(content)}'
    changed, count = re.subn(
        rf'(file = "{re.escape(name)}"\n)sha256 = "\w+"\nbytes = \d+', rf"\g<1>{facts}", text
    )
    assert count
    return changed


@pytest.fixture(scope="session")
def stub_registry(
    model_mirror: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Registry]:
    """Make a registry with stubs for every learned model; ``without`` leaves files out."""

    def make(*, without: tuple[str, ...] = (), **replaced: Path) -> Registry:
        folder, store = tmp_path_factory.mktemp("face-swap"), tmp_path_factory.mktemp("store")
        manifest = (FOLDER / "engine.toml").read_text()
        files = {name: model_mirror / name for name in REAL}
        files |= {name: model_mirror / "stubs" / stub for name, stub in STUBS.items()}
        files |= {name.replace("__", "."): path for name, path in replaced.items()}
        for name, path in files.items():
            manifest = declare(manifest, name, path)
            if name not in without:
                shutil.copyfile(path, store / name)
        (folder / "engine.toml").write_text(manifest)
        return Registry([folder], store=store)

    return make


@pytest.fixture(scope="session")
def stubs(stub_registry) -> Registry:
    """Everything is here."""
    return stub_registry()


def engine_of(registry: Registry) -> FaceSwap:
    return create(Services(registry=registry, sessions=registry.sessions, limits=registry.limits))


@pytest.fixture
def picture_files(tmp_path):
    """Write pictures, the target first, and tell them as an engine is given them."""

    def write(target: np.ndarray | Path, *sources: np.ndarray | Path) -> InputFiles:
        paths = []
        for number, each in enumerate((target, *sources)):
            if isinstance(each, Path):
                paths.append(each)
                continue
            paths.append(tmp_path / f"picture{number}.png")
            cv2.imwrite(str(paths[-1]), each)
        return InputFiles(paths[0], probe(paths[0], MediaLimits()), tuple(paths[1:]))

    return write


@pytest.fixture
def run(stubs, picture_files, context):
    """Run the engine on pictures, with stubs unless told otherwise; each result stays."""

    def run(
        *pictures: np.ndarray | Path,
        model: str | None = "inswapper-128",
        registry: Registry = stubs,
        **params: object,
    ) -> EngineResult:
        engine = engine_of(registry)
        wanted = engine.params_model.model_validate(params)
        files = picture_files(*pictures)
        folder = context.work_dir / str(next(numbers))  # results of several runs are compared
        folder.mkdir()
        here = replace(context, work_dir=folder)
        return engine.run(registry.resolve("face-swap", model), wanted, files, here)

    numbers = count()
    return run


@pytest.fixture(scope="session")
def faces(test_media) -> Path:
    """Photographs of faces, real people; see the folder's own list."""
    return test_media / "faces"
