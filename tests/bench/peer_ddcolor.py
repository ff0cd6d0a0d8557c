"""The engine against DDColor's own pipeline with torch; run by hand, nothing of it is kept here.

    # where torch is, with a checkout of DDColor and a checkpoint of it (pictures as PNG):
    python tests/bench/peer_ddcolor.py theirs PICTURES OUT --code DDColor --checkpoint C.pth
    # here, with what `pixelmeter models export ddcolor` made of the same checkpoint:
    python tests/bench/peer_ddcolor.py ours PICTURES OUT --network C.onnx

The first writes what the published pipeline makes of every picture; the second runs the engine with
``chroma: reference`` and prints the largest difference per picture, of 255.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[2]


def theirs(pictures: list[Path], out: Path, *, code: Path, checkpoint: Path, side: int) -> None:
    """What the published pipeline makes of them."""
    stubs = {name: ModuleType(name) for name in ("torchvision", "torchvision.utils")}
    stubs["torchvision.utils"].make_grid = None  # type: ignore[attr-defined] # imported, not used
    sys.modules.update(stubs)
    sys.path.insert(0, str(code))
    import torch
    from ddcolor.model import DDColor
    from ddcolor.pipeline import ColorizationPipeline, build_ddcolor_model

    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    first = state.get("params", state)["encoder.arch.downsample_layers.0.0.weight"]
    size = "tiny" if first.shape[0] == 96 else "large"
    network = build_ddcolor_model(
        DDColor, model_path=str(checkpoint), input_size=side, model_size=size
    )
    pipeline = ColorizationPipeline(network, input_size=side)
    for path in pictures:
        cv2.imwrite(str(out / f"{path.stem}.png"), pipeline.process(cv2.imread(str(path))))


def ours(pictures: list[Path], out: Path, *, network: Path, side: int) -> None:
    """The largest difference of each."""
    sys.path.insert(0, str(ROOT))
    from engines.colorize.engine import create
    from engines.colorize.params import ColorizeParams
    from engines.registry import Services, open_registry
    from engines.spec import InputFiles, MediaInfo, MediaKind
    from tests.engines.conftest import Context

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        registry = open_registry(store=folder / "store")
        model = registry.add("ddcolor-tiny", network, licence="peer")
        engine = create(Services(registry, registry.sessions, registry.limits))
        params = ColorizeParams(type="building", input_size=side, chroma="reference")
        for path in pictures:
            pixels = cv2.imread(str(path))
            copy = folder / "picture.png"
            cv2.imwrite(str(copy), pixels)
            info = MediaInfo(MediaKind.IMAGE, "image/png", 1, pixels.shape[1], pixels.shape[0])
            result = engine.run(model, params, InputFiles(copy, info), Context(folder))
            mine = cv2.imread(str(result.files[0].path)).astype(int)
            other = cv2.imread(str(out / f"{path.stem}.png"))
            print(f"{path.name} at {side}: {np.abs(mine - other).max()}/255")


def main() -> None:
    """One of the two."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("who", choices=["theirs", "ours"])
    parser.add_argument("pictures", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--code", type=Path)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--network", type=Path)
    parser.add_argument("--side", type=int, default=512)
    asked = parser.parse_args()
    asked.out.mkdir(exist_ok=True)
    pictures = sorted(path for path in asked.pictures.iterdir() if path.is_file())
    if asked.who == "theirs":
        theirs(pictures, asked.out, code=asked.code, checkpoint=asked.checkpoint, side=asked.side)
    else:
        ours(pictures, asked.out, network=asked.network, side=asked.side)


if __name__ == "__main__":
    main()
