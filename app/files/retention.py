"""How long files live; a part of the privacy promise, see ``app/files/service.py``."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final


@dataclass(frozen=True, slots=True)
class Retention:
    """By kind; each is a setting of its own."""

    inputs: timedelta = timedelta(hours=24)  # uploaded files
    outputs: timedelta = timedelta(days=7)  # what jobs made, and manifests of batches
    uploads: timedelta = timedelta(hours=24)  # from its beginning until an upload has to be whole
    results: timedelta = timedelta(hours=24)  # an earlier result may answer an equal job


DEFAULT: Final = Retention()
