"""Make ``.peers/yolo``: the reference implementation of YOLO in an environment of its own.

    python tests/peers/make_environment.py

torchvision has no build for CPUs on the package index, and the peer wants one to be importable: a
package of that name is written here, whose one function hands over to the peer's own suppression.
"""

import subprocess
import sys
import venv
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".peers" / "yolo"
DONE = FOLDER / "complete"

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

VISION = '''"""A stand-in: satisfies an import and hands suppression over to the peer's own."""
from torchvision import ops

__version__ = "0.28.0"
'''
VISION_OPS = """def nms(boxes, scores, iou_threshold):
    from ultralytics.utils.nms import TorchNMS

    return TorchNMS.nms(boxes, scores, iou_threshold)
"""


def main() -> int:
    if DONE.exists():
        print(f"{FOLDER} is complete; remove it to make it again")
        return 0
    venv.create(FOLDER, with_pip=True, clear=True)
    python = FOLDER / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, TORCH], check=True)
    shared = [f"{name}=={version(name)}" for name in SHARED]
    subprocess.run([*install, "--no-deps", PEER, *shared, *BESIDE], check=True)
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    asked = subprocess.run([python, "-c", where], check=True, capture_output=True, text=True)
    packages = Path(asked.stdout.strip())
    (packages / "torchvision" / "ops").mkdir(parents=True)
    (packages / "torchvision" / "__init__.py").write_text(VISION)
    (packages / "torchvision" / "ops" / "__init__.py").write_text(VISION_OPS)
    facts = packages / "torchvision-0.28.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: torchvision\nVersion: 0.28.0\n")
    DONE.touch()
    print(f"{FOLDER} is complete")
    return 0


if __name__ == "__main__":
    sys.exit(main())
