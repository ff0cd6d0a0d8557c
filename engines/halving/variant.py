"""fp16 variants of registered models: made, held against the original, registered, found again.

A variant is a version of its model like any other, with its own file and sha256, and remembers
the sha256 it was made of. The plain name of a model never means one unless it is activated.
"""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from engines.errors import InvalidInputError
from engines.halving.difference import TOLERANCE, Difference, lost, measure
from engines.halving.feeds import picture_feeds
from engines.loading import weights_source
from engines.manifest import ModelVersion, WeightsFile
from engines.overlay import Registered, next_version
from engines.registry import Registry
from engines.runners.ort import OrtRunner
from engines.versions import versions_of


@dataclass(frozen=True, slots=True)
class Converted:
    """A registered variant and how it was checked."""

    model: ModelVersion
    difference: Difference | None  # None: it was registered before


def half_of(registry: Registry, engine: str, model: ModelVersion) -> ModelVersion | None:
    """The fp16 variant of a model that can run here; the model itself if it is one."""
    if model.halved_from:
        return model
    sources = {file.sha256 for file in model.weights}
    versions = versions_of(registry.manifest(engine).models, model.name)
    found = [each for each in versions if each.halved_from in sources and registry.available(each)]
    return found[-1] if found else None


def convert(
    registry: Registry, engine: str, name: str, *, tolerance: float = TOLERANCE
) -> Converted:
    """Make the fp16 variant of ``name`` or ``name@version`` and register it as a version.

    Args:
        registry: where weights are found and variants kept.
        engine: whose model it is.
        name: as in a job.
        tolerance: the largest ``Difference.share`` that is let through.

    Raises:
        InvalidInputError: ``unknown_engine``, ``unknown_model``, ``weights_unused``,
            ``export_unavailable``: the extra ``convert`` is not installed.
        EngineFaultError: ``precision_unavailable`` (see ``halve``), ``precision_lost``: above the
            tolerance, NaN or infinity; ``profile_missing``.
        WeightsError: its weights are not here.
    """
    model = registry.resolve(engine, name)
    if model.runner != "onnxruntime":
        message = f"{model.id} is built in and runs on no weights; there is nothing to convert"
        raise InvalidInputError(message, code="weights_unused")
    if model.halved_from:
        raise InvalidInputError(f"{model.id} is fp16 already", code="precision_unavailable")
    registry.require(model)
    known = half_of(registry, engine, model)
    if known is not None:
        return Converted(known, None)
    source = weights_source(registry, model)
    content = source.path.read_bytes()
    half, stand_in = _halved(content)
    threads = registry.sessions.threads
    with OrtRunner(half, threads=threads) as loads:
        inputs = {
            spec.name: [-1 if length is None else length for length in spec.shape]
            for spec in loads.inputs
        }
    with OrtRunner(content, threads=threads) as one, OrtRunner(stand_in, threads=threads) as other:
        feeds = picture_feeds(one.inputs, model.profiles, file=source.path.name)
        difference = measure(one, other, feeds)
    if not difference.share <= tolerance:
        raise lost(
            f"the fp16 variant of {model.id} differs by {difference.share:.2%} in "
            f"{difference.output}, more than {tolerance:.2%}; nothing was registered. Keep fp32, "
            "or raise --tolerance if your results bear it"
        )
    return Converted(_register(registry, engine, model, half, inputs), difference)


def _register(
    registry: Registry,
    engine: str,
    model: ModelVersion,
    half: bytes,
    inputs: dict[str, list[int]],
) -> ModelVersion:
    sha256, origin = hashlib.sha256(half).hexdigest(), model.weights[0]
    version = next_version(versions_of(registry.manifest(engine).models, model.name))
    weights = WeightsFile(
        file=f"{model.name}-{version}-{sha256[:12]}.onnx",
        sha256=sha256,
        bytes=len(half),
        licence=origin.licence,
        source=f"fp16 of {model.id} (sha256 {origin.sha256})",
    )
    with TemporaryDirectory() as folder:
        path = Path(folder) / weights.file
        path.write_bytes(half)
        registry.adopt(path, replace(model, version=version, weights=(weights,)))
    entry = Registered(model.name, version, weights, inputs, halved_from=origin.sha256)
    registry.overlay.append(entry)
    return registry.resolve(engine, f"{model.name}@{version}")


def _halved(content: bytes) -> tuple[bytes, bytes]:
    """The variant, and the network that shows on a CPU what it computes."""
    try:
        from engines.halving.graph import halve  # noqa: PLC0415 - of an extra
        from engines.halving.rounding import rounded  # noqa: PLC0415 - of an extra
    except ImportError as error:
        message = "converting needs the package onnx: pip install 'pixelmeter[convert]'"
        raise InvalidInputError(message, code="export_unavailable") from error
    half = halve(content)
    return half, rounded(half)
