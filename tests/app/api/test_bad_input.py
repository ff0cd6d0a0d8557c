"""Every bad input is a 4xx problem with its own code, and nothing of it stays."""

import io
import json
import struct
import subprocess
import zlib
from pathlib import Path
from typing import Any

import pytest

from engines.media.ffmpeg import find_ffmpeg
from tests.app.api.callers import Caller, Traces, assert_problem, job_body

PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.fixture(scope="module")
def pixel_bomb() -> bytes:
    """30 000 x 30 000 pixels of one bit: 110 kB that would be 2.7 GB of RGB."""
    rows = zlib.compress(b"\0" * ((30_000 // 8 + 1) * 30_000), 9)
    head = struct.pack(">IIBBBBB", 30_000, 30_000, 1, 0, 0, 0, 0)
    chunks = (png_chunk(b"IHDR", head), png_chunk(b"IDAT", rows), png_chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.fixture(scope="module")
def sound_only(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A real MP4 with sound and no picture."""
    path: Path = tmp_path_factory.mktemp("sound") / "sound.mp4"
    command = [find_ffmpeg(), "-v", "error", "-f", "lavfi", "-i", "sine=d=0.5", str(path)]
    subprocess.run(command, check=True)
    return path.read_bytes()


def refused_upload(caller: Caller, traces: Traces, content: bytes, name: str) -> dict[str, Any]:
    answer = caller.upload(content, name=name)
    problem = assert_problem(answer, status=422, code=answer.json["code"])
    assert set(traces.look().values()) == {0}
    return problem


@pytest.mark.parametrize(
    ("content", "name", "code"),
    [
        (b"", "empty.png", "empty_file"),
        (b"just some text, no picture at all", "a.png", "unsupported_media"),
        (b"<html><script>alert(1)</script></html>", "a.jpg", "unsupported_media"),
        (SVG, "a.mp4", "unsupported_media"),
        (PLAYLIST, "a.mp4", "unsupported_media"),
        (b"%PDF-1.4\n", "a.png", "unsupported_media"),
        (b"PK\x03\x04" + b"\0" * 100, "a.png", "unsupported_media"),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_what_is_no_picture_or_video_is_refused(
    caller: Caller, traces: Traces, content: bytes, name: str, code: str
) -> None:
    assert refused_upload(caller, traces, content, name)["code"] == code


def test_a_truncated_picture_is_refused(caller: Caller, traces: Traces, portrait: bytes) -> None:
    problem = refused_upload(caller, traces, portrait[: len(portrait) // 2], "a.jpg")
    assert problem["code"] == "image_truncated"


def test_a_picture_with_a_tail_is_refused(caller: Caller, traces: Traces, photo: bytes) -> None:
    problem = refused_upload(caller, traces, photo + b"PK\x03\x04" + b"\0" * 30, "a.png")
    assert problem["code"] == "trailing_data"


def test_a_pixel_bomb_is_refused_by_its_header(
    caller: Caller, traces: Traces, pixel_bomb: bytes
) -> None:
    assert refused_upload(caller, traces, pixel_bomb, "a.png")["code"] == "image_too_large"


def test_a_video_without_pictures_is_refused(
    caller: Caller, traces: Traces, sound_only: bytes
) -> None:
    assert refused_upload(caller, traces, sound_only, "a.mp4")["code"] == "no_video_stream"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "json_empty"),
        (b"null", 400, "json_not_object"),
        (b"[]", 400, "json_not_object"),
        (b"[" * 100_000 + b"]" * 100_000, 400, "json_too_deep"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, 400, "json_too_deep"),
        (b'{"engine":"detect","token_quota":NaN}', 400, "json_number_not_finite"),
        (b'{"engine":"detect","token_quota":1e400}', 400, "json_number_not_finite"),
        (b'{"engine":"det\\u0000ect"}', 400, "json_nul_character"),
        (b'{"engine":"\\ud800"}', 400, "json_lone_surrogate"),
        (b'{"engine":"detect","engine":"colorize"}', 400, "json_duplicate_key"),
        (b'{"engine":"\xff"}', 400, "json_not_utf8"),
        (b'{"engine":"detect"', 400, "json_invalid"),
        (b"{" + b" " * (33 * 1024 * 1024) + b"}", 413, "body_too_large"),
    ],
    ids=lambda value: value[:24] if isinstance(value, bytes) else str(value),
)
@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/quotes"])
def test_a_malformed_body_is_refused(
    caller: Caller, path: str, body: bytes, status: int, code: str
) -> None:
    answer = caller.post(path, data=body, content_type="application/json")
    assert_problem(answer, status=status, code=code)


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"engine": "nothing"}, (422, "unknown_engine")),
        ({"model": "nothing"}, (422, "unknown_model")),
        ({"model": "builtin@99"}, (422, "unknown_model")),
        ({"params": {"colour": "red"}}, (422, "invalid_params")),
        ({"params": {"conf": "high"}}, (422, "invalid_params")),
        ({"params": {"img_size": 641}}, (422, "invalid_params")),
        ({"engine": 5}, (422, "invalid_request")),
        ({"priority": None}, (422, "invalid_request")),
        ({"metadata": {"k": {"deep": 1}}}, (422, "invalid_request")),
        ({"metadata": {"\x00": "v"}}, (400, "json_nul_character")),
        ({"price": 0, "tenant_id": "ten_1", "is_admin": True}, (400, "unknown_field")),
        ({"input": {"target": {"file": "file_unknown"}}}, (404, "file_not_found")),
        ({"input": {"target": {"file": "../../etc/passwd"}}}, (404, "file_not_found")),
        ({"input": {"target": {"url": "https://127.0.0.1/a.png"}}}, (422, "url_not_allowed")),
        ({"input": {"target": {"data": "data:text/plain,hello"}}}, (422, "data_uri_malformed")),
        ({"input": {"target": {"data": "data:;base64,aGVsbG8="}}}, (422, "unsupported_media")),
        ({"token_quota": 0.000001}, (402, "token_quota_exceeded")),
        ({"webhook": {"url": "https://u:p@example.com/"}}, (422, "invalid_request")),
        ({"webhook": {"url": "https://example.com/", "secret": "x"}}, (422, "invalid_request")),
    ],
    ids=lambda value: json.dumps(value)[:40],
)
def test_a_job_that_cannot_be_leaves_nothing(
    caller: Caller,
    file_id: str,
    traces: Traces,
    change: dict[str, Any],
    refusal: tuple[int, str],
) -> None:
    before = traces.look()
    status, code = refusal
    answer = caller.post("/v1/jobs", json=job_body(file_id) | change)
    assert_problem(answer, status=status, code=code)
    assert traces.look() == before


def test_somebody_elses_file_is_not_found(stranger: Caller, file_id: str, traces: Traces) -> None:
    before = traces.look()
    for path in ("/v1/jobs", "/v1/quotes"):
        answer = stranger.post(path, json=job_body(file_id))
        assert_problem(answer, status=404, code="file_not_found")
    assert traces.look() == before


def test_without_a_balance_there_is_no_job(pauper: Caller, photo: bytes, traces: Traces) -> None:
    file_id = pauper.upload(photo).json["id"]
    before = traces.look()
    answer = pauper.post("/v1/jobs", json=job_body(file_id))
    assert_problem(answer, status=402, code="insufficient_tokens")
    assert traces.look() == before
    assert pauper.post("/v1/quotes", json=job_body(file_id)).json["sufficient"] is False


def test_a_form_without_a_balance_leaves_no_file(
    pauper: Caller, photo: bytes, traces: Traces
) -> None:
    data = {"target": (io.BytesIO(photo), "a.png"), "job": '{"engine":"detect"}'}
    answer = pauper.post("/v1/jobs", data=data)
    assert_problem(answer, status=402, code="insufficient_tokens")
    assert set(traces.look().values()) == {0}


def test_a_face_job_wants_consent(caller: Caller, portrait: bytes) -> None:
    file_id = caller.upload(portrait, name="a.jpg").json["id"]
    ref = {"file": file_id}
    body = {"engine": "face-swap", "input": {"target": ref, "source": ref}}
    answer = caller.post("/v1/jobs", json=body)
    assert_problem(answer, status=422, code="consent_required")
    assert caller.post("/v1/jobs", json=body | {"consent": True}).status_code == 202


@pytest.mark.parametrize("path", ["/v1/files/a%00b", "/v1/jobs/%00"])
def test_a_nul_in_the_path_is_refused(caller: Caller, path: str) -> None:
    assert_problem(caller.get(path), status=400, code="nul_character")


def test_a_service_that_was_attacked_still_works(
    caller: Caller, traces: Traces, photo: bytes, pixel_bomb: bytes
) -> None:
    for _ in range(3):
        refused_upload(caller, traces, pixel_bomb, "a.png")
    assert caller.upload(photo).status_code == 201
