"""Check feeds against what a network declares, with messages that name the difference."""

from engines.errors import EngineFaultError
from engines.runners.base import Feeds, TensorSpec


def check_feeds(inputs: tuple[TensorSpec, ...], feeds: Feeds) -> None:
    """Raise ``EngineFaultError`` unless every input is fed with its type and shape."""
    expected, given = {spec.name for spec in inputs}, set(feeds)
    if expected != given:
        message = f"the network takes the inputs {sorted(expected)}, got {sorted(given)}"
        raise EngineFaultError(message)
    for spec in inputs:
        array = feeds[spec.name]
        if array.dtype != spec.dtype:
            message = f"input {spec.name} takes {spec.dtype}, got {array.dtype}; convert it first"
            raise EngineFaultError(message)
        if not spec.accepts(array.shape):
            message = f"input {spec.name} takes the shape {spec.shape}, got {array.shape}"
            raise EngineFaultError(message)
