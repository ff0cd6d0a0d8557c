"""From a model's declaration to a loaded detector, and which input sizes it takes."""

from collections.abc import Callable
from typing import cast

from engines.detect.builtin import Builtin
from engines.detect.detector import Detector
from engines.detect.network import Family, NetworkDetector
from engines.detect.yolov8 import yolov8
from engines.detect.yolox import yolox
from engines.errors import EngineFaultError, InvalidInputError
from engines.loading import load_network, weights_source
from engines.manifest import ModelVersion
from engines.registry import Services
from engines.runners.base import Runner
from engines.sessions import Loaded

_FAMILIES: dict[str, Callable[[Runner], Family]] = {"yolov8": yolov8, "yolox": yolox}

Size = tuple[int, int]  # height, width


def inference_size(model: ModelVersion, asked: Callable[[Size], Size]) -> Size:
    """The size a run will use.

    Args:
        model: as resolved.
        asked: gives the caller's size, or the default it is handed.

    Raises:
        InvalidInputError: code ``img_size_unsupported``, when the network takes another one only.
    """
    fixed = _fixed_size(model)
    size = asked(fixed or _declared_size(model))
    if fixed is not None and size != fixed:
        message = (
            f"{model.id} takes img_size [{fixed[0]}, {fixed[1]}] only, got "
            f"[{size[0]}, {size[1]}]; leave img_size out or choose another model"
        )
        raise InvalidInputError(message, code="img_size_unsupported")
    return size


def load_detector(model: ModelVersion, services: Services) -> Loaded[Detector]:
    """The detector, kept by the process; raises ``WeightsError`` without its weights."""
    family = _family(model)
    if family is None:
        return services.sessions.load(("detect", model.id), lambda: cast("Detector", Builtin()))
    loaded = load_network(services, model)
    return Loaded(NetworkDetector(loaded.value, family), loaded.cold_start_ms)


def load_lanes(model: ModelVersion, services: Services) -> Loaded[tuple[Detector, ...]]:
    """Detectors of one model that may infer at the same time; raises as ``load_detector``."""
    family = _family(model)
    if family is None:
        one = load_detector(model, services)
        return Loaded((one.value,), one.cold_start_ms)
    loaded = services.sessions.lanes(weights_source(services.registry, model))
    lanes = tuple(NetworkDetector(runner, family) for runner in loaded.value)
    return Loaded(lanes, loaded.cold_start_ms)


def _family(model: ModelVersion) -> Callable[[Runner], Family] | None:
    """How its network is fed and read; None for the built-in detector."""
    name = str(model.options.get("family"))
    if name != "builtin" and name not in _FAMILIES:
        message = f"{model.id}: the family {name!r} is unknown; there are {sorted(_FAMILIES)}"
        raise EngineFaultError(message, code="manifest_invalid")
    return _FAMILIES.get(name)


def _fixed_size(model: ModelVersion) -> Size | None:
    """The only size a network takes; None where height and width are free."""
    if model.options.get("fixed") is True:
        return _declared_size(model)
    inputs = model.options.get("inputs")  # what registering an operator's file found in it
    if not isinstance(inputs, dict) or not inputs:
        return None
    shape = [int(length) for length in next(iter(inputs.values()))]
    height, width = shape[-2:]
    return (height, width) if height > 0 and width > 0 else None


def _declared_size(model: ModelVersion) -> Size:
    height, width = cast("list[int]", model.options["img_size"])
    return (height, width)
