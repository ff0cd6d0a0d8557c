"""Files that are there whole or not at all."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from engines.errors import ExhaustedError

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file, or leave it; raises ``ExhaustedError``, code ``disk_full`` where it is."""
    with drafted(path) as draft:
        draft.write(content)


@contextmanager
def drafted(path: Path) -> Iterator[BinaryIO]:
    """A file that becomes ``path`` when the block ends well and vanishes when not."""
    draft: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        draft = Path(name)
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        draft.chmod(0o644)
        draft.replace(path)
    except OSError as error:
        message = f"cannot write {path}: {error.strerror}; make room there and try again"
        code = "disk_full" if error.errno in _NO_SPACE else None
        raise ExhaustedError(message, code=code) from error
    finally:
        if draft is not None:
            draft.unlink(missing_ok=True)
