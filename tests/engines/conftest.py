"""Tiny networks, folders of engines and real pictures for the tests of the engines."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib.cbook
import numpy as np
import onnx
import pytest
import skimage.data
from numpy.typing import NDArray
from onnx import TensorProto, helper
from PIL import Image

from engines.errors import CanceledError
from engines.registry import Registry, Services, open_registry
from engines.spec import EmbeddingCache, FaceBlocklist
from engines.unkept import NoBlockedFaces, NoEmbeddings

Pixels = NDArray[np.uint8]


@pytest.fixture
def tiny_onnx(tmp_path: Path) -> Callable[..., Path]:
    """Write a network that adds one to its input; dimensions given as text are free."""

    def write(
        name: str = "tiny.onnx",
        *,
        shape: tuple[int | str, ...] = ("n", 3, 64, 64),
        metadata: dict[str, str] | None = None,
    ) -> Path:
        graph = helper.make_graph(
            [helper.make_node("Add", ["images", "one"], ["output0"])],
            "tiny",
            [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("output0", TensorProto.FLOAT, shape)],
            [onnx.numpy_helper.from_array(np.ones(1, dtype=np.float32), "one")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        helper.set_model_props(model, metadata or {})
        path = tmp_path / name
        onnx.save(model, path)
        return path

    return write


@pytest.fixture
def engine_folder(tmp_path: Path) -> Callable[..., Path]:
    """Write the folder of an engine ``sums`` whose model ``net`` wants a given weights file."""

    def write(weights: Path, *, url: str | None = None) -> Path:
        content = weights.read_bytes()
        folder = tmp_path / "sums"
        folder.mkdir(exist_ok=True)
        (folder / "engine.toml").write_text(
            f"""
name = "sums"
title = "Sums"
description = "Adds one."
media = ["image"]
sources = "none"
aliases = {{ tiny = "net" }}

[[models]]
name = "net"
version = "1"
runner = "onnxruntime"

[[models.weights]]
file = "{weights.name}"
sha256 = "{hashlib.sha256(content).hexdigest()}"
bytes = {len(content)}
licence = "MIT"
source = "us"
{f'url = "{url}"' if url else ""}

[[models]]
name = "big"
version = "1"
runner = "onnxruntime"
needs_weights = true

[[models]]
name = "builtin"
version = "1"
runner = "opencv"
"""
        )
        return folder

    return write


@pytest.fixture(scope="session")
def photo() -> Path:
    """A real photograph: an astronaut before a flag and a model of a shuttle, 512 x 512."""
    import skimage

    return Path(skimage.__file__).parent / "data" / "astronaut.png"


@pytest.fixture(scope="session")
def cat_photo() -> Path:
    """A real photograph of a cat, 451 x 300."""
    import skimage

    return Path(skimage.__file__).parent / "data" / "chelsea.png"


@pytest.fixture
def save_image(tmp_path: Path) -> Callable[..., Path]:
    """Write an image with Pillow under a name."""

    def save(image: Image.Image, name: str, **options: object) -> Path:
        path = tmp_path / name
        image.save(path, **options)
        return path

    return save


def _bgr(rgb: NDArray[Any]) -> Pixels:
    return np.ascontiguousarray(rgb[:, :, 2::-1])


@pytest.fixture(scope="session")
def astronaut() -> Pixels:
    return _bgr(skimage.data.astronaut())


@pytest.fixture(scope="session")
def hopper() -> Pixels:
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as stream:
        return _bgr(np.asarray(Image.open(stream).convert("RGB")))


@pytest.fixture(scope="session")
def cat() -> Pixels:
    return _bgr(skimage.data.chelsea())


@pytest.fixture(scope="session")
def camera() -> Pixels:
    """A photographer on a lawn under an open sky, one channel."""
    return np.asarray(skimage.data.camera())


@dataclass
class Context:
    """A run that is watched, and that may be told to stop."""

    work_dir: Path
    canceled: bool = False
    canceled_after: int | None = None  # work done at which somebody asks to stop
    reports: list[tuple[int, int, str]] = field(default_factory=list)
    embeddings: EmbeddingCache = field(default_factory=NoEmbeddings)
    blocked_faces: FaceBlocklist = field(default_factory=NoBlockedFaces)

    def progress(self, done: int, total: int, unit: str) -> None:
        self.reports.append((done, total, unit))
        if self.canceled_after is not None and done >= self.canceled_after:
            self.canceled = True

    def checkpoint(self) -> None:
        if self.canceled:
            raise CanceledError("asked to stop")


@pytest.fixture
def context(tmp_path: Path) -> Context:
    folder = tmp_path / "work"
    folder.mkdir()
    return Context(folder)


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """No weights at all: everything that must work without them."""
    return open_registry(store=tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="session")
def services(registry: Registry) -> Services:
    return Services(registry=registry, sessions=registry.sessions, limits=registry.limits)
