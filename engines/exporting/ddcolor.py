"""DDColor's published checkpoints to ONNX, checked against the original at every step.

The network's code is DDColor's own: a checkout of it is named by the caller and nothing of it is
kept here. Upstream loads checkpoints leniently, so that a wrong one gives a grey-brown network
without a word; here every weight must be found in the code and every weight of the code be filled.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from engines.errors import EngineFaultError, InvalidInputError

OPSET = 17
NEEDED = ("torch", "onnx", "onnxruntime")
# First layer's channels -> the encoder they belong to.
ENCODERS = {96: "convnext-t", 192: "convnext-l"}
FIRST_LAYER = "encoder.arch.downsample_layers.0.0.weight"
PARITY_SHAPES = ((1, 256, 256), (2, 256, 384))  # pictures, height, width
PARITY_MAX = 1e-3  # of the largest colour
KEYS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Exported:
    """What was made and how it was checked."""

    path: Path
    encoder: str
    keys: int  # weights that checkpoint and code have in common: all of both
    opset: int
    free_axes: tuple[str, ...]
    difference: float  # largest, against torch, as a share of the largest colour


def export_ddcolor(
    checkpoint: Path, code: Path, out: Path, *, say: Callable[[str], None]
) -> Exported:
    """Write ``out`` from a checkpoint; it exists only if every check passed.

    Args:
        checkpoint: a .pth or .pt file, bare or under the key ``params``.
        code: folder of a checkout of DDColor, with ``ddcolor/model.py``.
        out: the ONNX file.
        say: told what is being done.

    Raises:
        InvalidInputError: ``export_unavailable`` (something is not installed),
            ``file_missing``, ``checkpoint_mismatch`` (weights and code do not belong together).
        EngineFaultError: ``export_differs``: the ONNX file computes something else.
    """
    require(NEEDED)
    if not (code / "ddcolor" / "model.py").is_file():
        message = f"{code} is no checkout of DDColor: it has no ddcolor/model.py; clone it first"
        raise InvalidInputError(message, code="file_missing")
    state = _state(checkpoint)
    encoder = encoder_of({name: tuple(value.shape) for name, value in state.items()})
    say(f"{checkpoint.name}: {len(state)} weights, encoder {encoder}")
    with _importable(code):
        network = _network(encoder, state)
        say(f"exporting with opset {OPSET}, free batch, height and width")
        _write(network, out)
    try:
        axes = free_axes(out)
        difference = _difference(network, out)
    except Exception:
        out.unlink(missing_ok=True)
        raise
    say(f"largest difference to torch: {difference:.1e} of the largest colour")
    return Exported(out, encoder, len(state), OPSET, axes, difference)


def require(modules: tuple[str, ...]) -> None:
    """Raise ``export_unavailable``, naming every module that is not installed."""
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        message = (
            f"exporting needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} "
            "not installed here: pip install 'pixelmeter[export]'"
        )
        raise InvalidInputError(message, code="export_unavailable")


def encoder_of(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Which encoder a checkpoint has, by its first layer."""
    channels = shapes.get(FIRST_LAYER, (0,))[0]
    if channels not in ENCODERS:
        message = (
            f"this checkpoint is no DDColor: {FIRST_LAYER} has {channels} channels, not "
            f"{' or '.join(map(str, ENCODERS))}; take one of the published files"
        )
        raise InvalidInputError(message, code="checkpoint_mismatch")
    return ENCODERS[channels]


def check_overlap(
    given: Mapping[str, tuple[int, ...]], wanted: Mapping[str, tuple[int, ...]]
) -> None:
    """Insist that checkpoint and code have the same weights in the same shapes."""
    missing = sorted(set(wanted) - set(given))
    unknown = sorted(set(given) - set(wanted))
    shapes = sorted(name for name in set(given) & set(wanted) if given[name] != wanted[name])
    if not (missing or unknown or shapes):
        return
    parts = [
        f"{len(names)} {what} ({', '.join(names[:KEYS_SHOWN])})"
        for what, names in (
            ("missing in it", missing),
            ("unknown to the code", unknown),
            ("of another shape", shapes),
        )
        if names
    ]
    share = len(set(given) & set(wanted)) / max(1, len(wanted))
    message = (
        f"checkpoint and code do not belong together: {share:.0%} of the weights overlap; "
        f"{'; '.join(parts)}. Take the checkout that the checkpoint was published with"
    )
    raise InvalidInputError(message, code="checkpoint_mismatch")


def free_axes(path: Path) -> tuple[str, ...]:
    """The axes of an exported file that may have any length; raises ``export_differs``."""
    import onnx  # noqa: PLC0415 - of an extra

    model = onnx.load(str(path))
    onnx.checker.check_model(model)
    versions = {each.domain: each.version for each in model.opset_import}
    axes = tuple(each.dim_param for each in model.graph.input[0].type.tensor_type.shape.dim)
    free = tuple(name for name in axes if name)
    if versions.get("") != OPSET or len(free) != len(PARITY_SHAPES[0]):
        message = f"the export has opset {versions.get('')} and the free axes {free}"
        raise EngineFaultError(message, code="export_differs")
    return free


def _state(checkpoint: Path) -> dict[str, Any]:
    import torch

    if not checkpoint.is_file():
        raise InvalidInputError(f"there is no file {checkpoint}", code="file_missing")
    # tensors only: a checkpoint of a stranger can otherwise run code
    loaded = torch.load(checkpoint, map_location="cpu", weights_only=True)
    state: dict[str, Any] = loaded.get("params", loaded)
    return state


def _network(encoder: str, state: Mapping[str, Any]) -> Any:  # noqa: ANN401 - torch is not here
    from ddcolor.model import DDColor

    network = DDColor(
        encoder_name=encoder,
        decoder_name="MultiScaleColorDecoder",
        input_size=[512, 512],
        num_output_channels=2,
        last_norm="Spectral",
        do_normalize=False,
        num_queries=100,
        num_scales=3,
        dec_layers=9,
    )
    wanted = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    check_overlap({name: tuple(value.shape) for name, value in state.items()}, wanted)
    network.load_state_dict(state, strict=True)
    return network.eval()


def _write(network: Any, out: Path) -> None:  # noqa: ANN401 - torch is not here
    import torch

    axes = {0: "batch", 2: "height", 3: "width"}
    torch.onnx.export(
        network,
        (torch.rand(1, 3, 256, 256),),
        str(out),
        input_names=["input"],
        output_names=["output"],
        opset_version=OPSET,
        dynamic_axes={"input": axes, "output": axes},
        dynamo=False,  # the other exporter ties height and width to multiples of a guess
    )


def _difference(network: Any, out: Path) -> float:  # noqa: ANN401 - torch is not here
    import onnxruntime
    import torch

    session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    worst = 0.0
    for count, height, width in PARITY_SHAPES:
        picture = np.random.default_rng(1).random((count, 3, height, width), dtype=np.float32)
        with torch.inference_mode():
            theirs = network(torch.from_numpy(picture)).numpy()
        (ours,) = session.run(None, {"input": picture})
        worst = max(worst, float(np.abs(ours - theirs).max() / max(np.abs(theirs).max(), 1e-9)))
    if not worst <= PARITY_MAX:
        message = f"the ONNX file differs from torch by {worst:.1e} of the largest colour"
        raise EngineFaultError(message, code="export_differs")
    return worst


@contextmanager
def _importable(code: Path) -> Iterator[None]:
    """The checkout on the path; it wants one function of torchvision that exporting never calls."""
    stubs: dict[str, ModuleType] = {}
    if find_spec("torchvision") is None:
        stubs = {name: ModuleType(name) for name in ("torchvision", "torchvision.utils")}
        stubs["torchvision.utils"].__dict__["make_grid"] = None
    sys.modules.update(stubs)
    sys.path.insert(0, str(code))
    try:
        yield
    finally:
        sys.path.remove(str(code))
        for name in stubs:
            sys.modules.pop(name, None)
