"""The matrix inside inswapper's weights that turns an embedding into the network's latent.

It is the last tensor of the graph as it was published. Optimised and converted files may put
another one there, so its shape is checked, and it is written out once: a runtime that holds a plan
of the network does not know the matrix any more.
"""

from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.atomic import write_whole
from engines.faces.nets.contracts import ContractError

Emap = NDArray[np.float32]  # [512, 512]

SIDE = 512


def load_emap(weights: Path, sha256: str, folder: Path) -> Emap:
    """The matrix of a verified weights file, read from ``folder`` after the first time.

    Args:
        weights: the ONNX file as it was published.
        sha256: of that file; the written matrix is found by it.
        folder: where matrices are kept; made when first written to.

    Raises:
        ContractError: code ``emap_wrong``: the file has no such matrix.
        ExhaustedError: the folder cannot be written.
    """
    kept = folder / f"{sha256}.emap.npy"
    known = _read(kept)
    if known is not None:
        return known
    emap = export_emap(weights)
    content = BytesIO()
    np.save(content, emap, allow_pickle=False)
    write_whole(kept, content.getvalue())
    return emap


def export_emap(weights: Path) -> Emap:
    """The matrix as it lies in an ONNX file; raises ``ContractError`` code ``emap_wrong``."""
    import onnx  # noqa: PLC0415 - slow to load, needed once per weights file

    try:
        model = onnx.load_model(str(weights), load_external_data=False)
    except Exception as error:  # what protobuf raises here has changed its name before
        raise _wrong(weights, "it is no ONNX file") from error
    tensors = model.graph.initializer
    if not tensors:
        raise _wrong(weights, "it holds no tensors")
    shape = tuple(tensors[-1].dims)
    if shape != (SIDE, SIDE):
        raise _wrong(weights, f"its last tensor {tensors[-1].name!r} has the shape {shape}")
    emap = np.asarray(onnx.numpy_helper.to_array(tensors[-1]), dtype=np.float32)
    if not np.isfinite(emap).all() or not emap.any():
        raise _wrong(weights, "its last tensor holds no usable numbers")
    return emap


def _read(kept: Path) -> Emap | None:
    """A matrix that was written before; None when there is none or it is damaged."""
    try:
        emap = np.load(kept, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    is_whole = emap.shape == (SIDE, SIDE) and emap.dtype == np.float32
    return emap if is_whole and np.isfinite(emap).all() else None


def _wrong(weights: Path, what: str) -> ContractError:
    return ContractError(
        f"{weights.name} carries no matrix for embeddings: {what}, and {SIDE} x {SIDE} numbers are "
        "needed. Use inswapper_128.onnx as it was published, not an optimised or converted copy",
        code="emap_wrong",
    )
