"""What a file is by its first bytes, told before anything parses it. Pure."""

from typing import Final

from engines.foreign.refusal import ForeignWeightsError

BYTES_MAX: Final = 512 * 1024 * 1024
_SIGNS: Final = {
    b"PK\x03\x04": "a zip archive, as PyTorch saves .pt files",
    b"\x80": "a Python pickle",
    b"\x1f\x8b": "a gzip archive",
    b"\x89HDF": "an HDF5 file",
    b"<": "a page of text",
    b"{": "JSON",
    b"\x7fELF": "a program",
}


def check_signature(content: bytes) -> None:
    """Refuse what its first bytes give away; raises ``ForeignWeightsError`` code ``not_onnx``."""
    for sign, what in _SIGNS.items():
        if content.startswith(sign):
            raise not_onnx(f"The file is {what}")
    if not content:
        raise not_onnx("The file is empty")


def not_onnx(what: str) -> ForeignWeightsError:
    """The error for a file that is something else."""
    detail = f"{what}. Export the network to ONNX and send that file."
    return ForeignWeightsError(detail, code="not_onnx")
