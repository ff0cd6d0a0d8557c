"""A process that decodes hostile files for another one: ``python -m engines.media.probe_child``.

One JSON request per line on stdin, ``{"path": ..., "limits": {...}}``; one JSON answer per line on
stdout: the fields of ``MediaInfo``, or ``{"code": ..., "detail": ...}``. It ends with its stdin.

It may die at any request (a crash in a decoder, or one of its own limits); the parent then
answers for that file with ``media_unreadable`` and starts another child.
"""

import json
import os
import resource
import sys
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from engines.errors import EngineError, ExhaustedError
from engines.media.limits import MediaLimits
from engines.media.probe import probe

# Addresses, not memory in use: Python, numpy and the decoders map about 1 GiB before any work.
ADDRESS_SPACE_BYTES = 3 * 1024**3
CPU_S_PER_FILE = 20
OPEN_FILES = 256


def main() -> None:
    """Answer requests until stdin ends."""
    confine()
    serve(sys.stdin.buffer, sys.stdout.buffer)


def confine() -> None:
    """Lower the limits of this process for good; only the time limit moves with each file."""
    warnings.simplefilter("ignore")  # decoders warn about metadata; nobody reads this stderr
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_NOFILE, OPEN_FILES)
    _lower(resource.RLIMIT_AS, ADDRESS_SPACE_BYTES)
    # For whatever opens a picture through OpenCV: without it 100 kB can become 5 GB of pixels.
    os.putenv("OPENCV_IO_MAX_IMAGE_PIXELS", str(MediaLimits().max_image_pixels))


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer each line of ``requests`` by one line in ``answers``."""
    for line in requests:
        _allow_cpu(CPU_S_PER_FILE)
        answers.write(json.dumps(answer(line)).encode() + b"\n")
        answers.flush()


def answer(line: bytes) -> Mapping[str, Any]:
    """One request, as a JSON-ready answer; no file makes this raise."""
    request = json.loads(line)
    try:
        return asdict(probe(Path(request["path"]), MediaLimits(**request["limits"])))
    except (MemoryError, ExhaustedError):
        detail = "the file needs too much memory to be read; send a smaller one"
    except EngineError as error:
        return {"code": error.code, "detail": error.detail}
    except Exception as error:  # noqa: BLE001 - whatever a decoder raised, the file is to blame
        print(f"probe: {type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201 - the log
        detail = "the file cannot be read: it is damaged or of a rare kind"
    return {"code": "media_unreadable", "detail": detail}


def _lower(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    limit = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (limit, limit))


def _allow_cpu(seconds: int) -> None:
    """The kernel ends this process when one file takes longer; its clock never goes back."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    spent_s = int(used.ru_utime + used.ru_stime) + 1
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    soft = spent_s + seconds
    resource.setrlimit(
        resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard)
    )


if __name__ == "__main__":
    main()
