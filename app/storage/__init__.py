"""Where bytes live: a folder or an S3 bucket behind one protocol.

Names are made here and never by a caller. An object appears under its key only when it is whole,
and never changes afterwards.
"""

from app.storage.address import open_storage
from app.storage.folder import FileStorage
from app.storage.protocol import (
    DirectUploads,
    GrowingObjects,
    GrowingState,
    Grown,
    Storage,
    StorageError,
    StorageUnavailableError,
    StoredObject,
    new_key,
)

__all__ = [
    "DirectUploads",
    "FileStorage",
    "GrowingObjects",
    "GrowingState",
    "Grown",
    "Storage",
    "StorageError",
    "StorageUnavailableError",
    "StoredObject",
    "new_key",
    "open_storage",
]
