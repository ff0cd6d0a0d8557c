"""The body of ``POST /upload/image``, streamed to a temporary file."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO, Final, cast

from aiohttp import BodyPartReader, MultipartReader, web

from app.comfyui.errors import PromptError, error_body
from app.comfyui.names import BadNameError, Place, place_of
from app.comfyui.threads import Threads

FILE_PARTS: Final = ("image", "file")  # what ComfyUI calls it, and what some clients do
TEXT_PARTS: Final = ("overwrite", "type", "subfolder")
TEXT_BYTES_MAX: Final = 4096
PARTS_MAX: Final = 16
_CHUNK_BYTES: Final = 256 * 1024
_IN_MEMORY_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Upload:
    """A picture and where its sender wants it."""

    stream: BinaryIO  # at its beginning
    place: Place
    overwrite: bool


@contextmanager
def temporary() -> Iterator[BinaryIO]:
    """A file that is gone afterwards; small ones stay in memory."""
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES) as stream:
        yield cast(BinaryIO, stream)


async def read_upload(
    request: web.Request, stream: BinaryIO, threads: Threads, *, max_bytes: int
) -> Upload:
    """Read the form; the picture goes to ``stream``.

    Raises:
        PromptError: no form, no picture, a name that is a path, or too many bytes.
    """
    if not request.content_type.startswith("multipart/"):
        raise _refusal("Send a form with the picture as the part `image`.")
    try:
        name, texts = await _read_parts(request, stream, threads, max_bytes=max_bytes)
    except (ValueError, LookupError, AssertionError) as error:  # what a broken form gives
        raise _refusal(f"The form cannot be read: {error}") from error
    if not name:
        raise _refusal("There is no picture: send it as the part `image`, with a file name.")
    try:
        place = place_of(name, subfolder=texts["subfolder"], folder=texts["type"] or "input")
    except BadNameError as error:
        raise _refusal(str(error)) from error
    await threads.run(lambda: stream.seek(0))
    return Upload(stream, place, texts["overwrite"] in {"true", "1"})


async def _read_parts(
    request: web.Request, stream: BinaryIO, threads: Threads, *, max_bytes: int
) -> tuple[str | None, dict[str, str]]:
    """The file name and the texts; the first picture goes to ``stream``."""
    name, texts = None, dict.fromkeys(TEXT_PARTS, "")
    reader = await request.multipart()
    for _ in range(PARTS_MAX):
        part = await reader.next()
        if part is None:
            break
        if isinstance(part, MultipartReader):
            raise _refusal("The form holds another form.")
        if part.name in FILE_PARTS and part.filename is not None and name is None:
            name = part.filename
            await _copy(part, stream, threads, max_bytes=max_bytes)
        elif part.name in TEXT_PARTS:
            texts[str(part.name)] = await _text(part)
        else:
            await part.release()
    return name, texts


async def _copy(
    part: BodyPartReader, stream: BinaryIO, threads: Threads, *, max_bytes: int
) -> None:
    size = 0
    while chunk := await part.read_chunk(_CHUNK_BYTES):
        size += len(chunk)
        if size > max_bytes:
            raise _refusal(f"The picture is larger than {max_bytes} bytes.", status=413)
        await threads.run(partial(stream.write, chunk))


async def _text(part: BodyPartReader) -> str:
    content = b""
    while chunk := await part.read_chunk(TEXT_BYTES_MAX):
        content += chunk
        if len(content) > TEXT_BYTES_MAX:
            raise _refusal(f"The part {part.name} is too long.")
    return content.decode("utf-8", "replace")


def _refusal(details: str, *, status: int = 400) -> PromptError:
    return PromptError(
        error_body("invalid_upload", "The upload cannot be taken", details), status=status
    )
