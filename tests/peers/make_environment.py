"""Make ``.peers/yolo`` and ``.peers/insightface``: the references in environments of their own.

    python tests/peers/make_environment.py [yolo|insightface]

torchvision has no build for CPUs on the package index, and the peer wants one to be importable: a
package of that name is written here, whose one function hands over to the peer's own suppression.
"""

import subprocess
import sys
import venv
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PEERS = ROOT / ".peers"
INSTALL = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")

TORCH = "torch==2.13.0"
PEER = "ultralytics==8.4.190"
# As ours, so that what differs is the code and not its libraries.
SHARED = ("numpy", "opencv-python-headless", "Pillow", "onnx", "onnxruntime", "openvino", "psutil")
BESIDE = (
    "certifi",
    "charset-normalizer",
    "contourpy",
    "cycler",
    "fonttools",
    "idna",
    "kiwisolver",
    "matplotlib",
    "ml_dtypes",
    "onnxslim",
    "openvino-telemetry",
    "packaging",
    "polars",
    "polars-runtime-32",
    "protobuf",
    "py-cpuinfo",
    "pyparsing",
    "python-dateutil",
    "PyYAML",
    "requests",
    "scipy",
    "six",
    "tqdm",
    "ultralytics-thop",
    "urllib3",
)

FACES = "insightface==2.1"
FACES_SHARED = ("numpy", "opencv-python-headless", "Pillow", "onnx", "onnxruntime", "scipy")
FACES_BESIDE = (
    "scikit-image==0.26.0",  # aligns its faces
    "certifi",
    "charset-normalizer",
    "flatbuffers",
    "idna",
    "imageio",
    "lazy_loader",
    "ml_dtypes",
    "networkx",
    "packaging",
    "protobuf",
    "requests",
    "tifffile",
    "tqdm",
    "typing_extensions",
    "urllib3",
)

VISION = '''"""A stand-in: satisfies an import and hands suppression over to the peer's own."""
from torchvision import ops

__version__ = "0.28.0"
'''
VISION_OPS = """def nms(boxes, scores, iou_threshold):
    from ultralytics.utils.nms import TorchNMS

    return TorchNMS.nms(boxes, scores, iou_threshold)
"""


def make_yolo(python: Path) -> None:
    """With PyTorch for CPUs, and a stand-in for torchvision."""
    subprocess.run([python, *INSTALL, TORCH], check=True)
    subprocess.run([python, *INSTALL, "--no-deps", PEER, *_as_ours(SHARED), *BESIDE], check=True)
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    asked = subprocess.run([python, "-c", where], check=True, capture_output=True, text=True)
    packages = Path(asked.stdout.strip())
    (packages / "torchvision" / "ops").mkdir(parents=True)
    (packages / "torchvision" / "__init__.py").write_text(VISION)
    (packages / "torchvision" / "ops" / "__init__.py").write_text(VISION_OPS)
    facts = packages / "torchvision-0.28.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: torchvision\nVersion: 0.28.0\n")


def make_insightface(python: Path) -> None:
    """Its own classes, no weights of it."""
    packages = [FACES, *_as_ours(FACES_SHARED), *FACES_BESIDE]
    subprocess.run([python, *INSTALL, "--no-deps", *packages], check=True)


def _as_ours(names: tuple[str, ...]) -> list[str]:
    return [f"{name}=={version(name)}" for name in names]


MAKERS = {"yolo": make_yolo, "insightface": make_insightface}


def main() -> int:
    for name in sys.argv[1:] or MAKERS:
        folder = PEERS / name
        if (folder / "complete").exists():
            print(f"{folder} is complete; remove it to make it again")
            continue
        venv.create(folder, with_pip=True, clear=True)
        MAKERS[name](folder / "bin" / "python")
        (folder / "complete").touch()
        print(f"{folder} is complete")
    return 0


if __name__ == "__main__":
    sys.exit(main())
