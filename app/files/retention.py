"""How long files live; a part of the privacy promise, see ``app/files/service.py``."""

from datetime import timedelta
from typing import Final

INPUT_RETENTION: Final = timedelta(hours=24)
OUTPUT_RETENTION: Final = timedelta(days=7)
UPLOAD_LIFETIME: Final = timedelta(hours=24)
