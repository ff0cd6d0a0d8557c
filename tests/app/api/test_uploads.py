"""The tus protocol at its address, header by header; files whole are the same as files at once."""

import base64
import contextlib
import hashlib

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker
from werkzeug.test import TestResponse

from app.api.services import Services
from tests.app.api.callers import Caller, Traces, assert_problem, job_body

TUS = {"Tus-Resumable": "1.0.0"}
BODY = "application/offset+octet-stream"


def begin(caller: Caller, total: int, **headers: str) -> TestResponse:
    return caller.post("/v1/uploads", headers={**TUS, "Upload-Length": str(total), **headers})


def patch(
    caller: Caller, path: str, content: bytes, *, offset: int, **headers: str
) -> TestResponse:
    return caller.send(
        "PATCH",
        path,
        data=content,
        content_type=BODY,
        headers={**TUS, "Upload-Offset": str(offset), **headers},
    )


def head(caller: Caller, path: str) -> TestResponse:
    return caller.send("HEAD", path, headers=TUS)


@pytest.fixture
def path(caller: Caller, photo: bytes) -> str:
    labels = f"filename {base64.b64encode('Kätzchen.png'.encode()).decode()},empty"
    answer = begin(caller, len(photo), **{"Upload-Metadata": labels})
    assert answer.status_code == 201, answer.text
    return answer.headers["Location"]


def test_the_server_says_what_it_speaks(client: FlaskClient) -> None:
    answer = client.options("/v1/uploads")
    assert answer.status_code == 204
    assert answer.headers["Tus-Version"] == "1.0.0"
    assert answer.headers["Tus-Max-Size"] == str(512 * 1024 * 1024)
    assert set(answer.headers["Tus-Extension"].split(",")) == {
        "creation",
        "creation-with-upload",
        "termination",
        "checksum",
        "expiration",
    }
    assert "sha1" in answer.headers["Tus-Checksum-Algorithm"].split(",")


def test_pieces_become_a_file_like_any_other(caller: Caller, path: str, photo: bytes) -> None:
    standing = head(caller, path)
    assert standing.status_code == 200
    assert standing.headers["Upload-Offset"] == "0"
    assert standing.headers["Upload-Length"] == str(len(photo))
    assert standing.headers["Cache-Control"] == "no-store"
    assert "GMT" in standing.headers["Upload-Expires"]
    assert "filename" in standing.headers["Upload-Metadata"]
    first = patch(caller, path, photo[:1000], offset=0)
    assert (first.status_code, first.headers["Upload-Offset"]) == (204, "1000")
    assert "Pixelmeter-File" not in first.headers
    last = patch(caller, path, photo[1000:], offset=1000)
    assert (last.status_code, last.headers["Upload-Offset"]) == (204, str(len(photo)))
    file = caller.get(f"/v1/files/{last.headers['Pixelmeter-File']}").json
    assert file["sha256"] == hashlib.sha256(photo).hexdigest()
    assert (file["name"], file["width"], file["purpose"]) == ("Kätzchen.png", 451, "input")
    shown = caller.get(path).json
    assert (shown["status"], shown["file"]) == ("finished", file["id"])
    assert head(caller, path).headers["Pixelmeter-File"] == file["id"]
    assert caller.post("/v1/jobs", json=job_body(file["id"])).status_code == 202


def test_a_file_may_come_with_its_creation(caller: Caller, photo: bytes) -> None:
    answer = caller.post(
        "/v1/uploads",
        data=photo,
        content_type=BODY,
        headers={**TUS, "Upload-Length": str(len(photo))},
    )
    assert answer.status_code == 201
    assert answer.json["file"] == answer.headers["Pixelmeter-File"]


def test_a_piece_at_another_place_is_refused(caller: Caller, path: str, photo: bytes) -> None:
    patch(caller, path, photo[:1000], offset=0)
    for offset in (0, 999, 1001):
        answer = patch(caller, path, photo[:10], offset=offset)
        assert_problem(answer, status=409, code="offset_mismatch")
    assert head(caller, path).headers["Upload-Offset"] == "1000"


def test_more_than_was_announced_is_refused(caller: Caller, path: str, photo: bytes) -> None:
    answer = patch(caller, path, photo + b"x", offset=0)
    assert_problem(answer, status=413, code="upload_too_long")
    assert head(caller, path).headers["Upload-Offset"] == "0"


def test_a_checksum_decides_whether_a_piece_counts(caller: Caller, path: str, photo: bytes) -> None:
    wrong = {"Upload-Checksum": f"sha1 {base64.b64encode(bytes(20)).decode()}"}
    answer = patch(caller, path, photo[:1000], offset=0, **wrong)
    assert_problem(answer, status=460, code="checksum_mismatch")
    assert head(caller, path).headers["Upload-Offset"] == "0"
    for algorithm, (start, stop) in {
        "md5": (0, 1000),
        "sha1": (1000, 2000),
        "sha256": (2000, None),
    }.items():
        piece = photo[start:stop]
        digest = base64.b64encode(hashlib.new(algorithm, piece).digest()).decode()
        right = patch(
            caller, path, piece, offset=start, **{"Upload-Checksum": f"{algorithm} {digest}"}
        )
        assert right.status_code == 204
    assert "Pixelmeter-File" in right.headers


@pytest.mark.parametrize(
    "header", ["crc32 AAAA", "sha1", "sha1 AAAA", "sha1 not base64", "sha256 é"]
)
def test_a_checksum_that_cannot_be_checked_is_refused(
    caller: Caller, path: str, header: str
) -> None:
    answer = patch(caller, path, b"x", offset=0, **{"Upload-Checksum": header})
    assert_problem(answer, status=400, code="unsupported_checksum")


def test_a_file_that_is_no_picture_is_refused_for_good(
    caller: Caller, traces: Traces, sessions: sessionmaker[Session]
) -> None:
    path = begin(caller, 9).headers["Location"]
    answer = patch(caller, path, b"not media", offset=0)
    assert_problem(answer, status=422, code="unsupported_media")
    assert_problem(patch(caller, path, b"", offset=9), status=422, code="unsupported_media")
    assert head(caller, path).status_code == 422
    shown = caller.get(path).json
    assert (shown["status"], shown["error"]["code"]) == ("refused", "unsupported_media")
    assert traces.look()["stored"] == traces.look()["file"] == 0


def test_an_upload_can_be_taken_back(
    caller: Caller, path: str, photo: bytes, traces: Traces
) -> None:
    patch(caller, path, photo[:1000], offset=0)
    assert caller.send("DELETE", path, headers=TUS).status_code == 204
    assert_problem(
        patch(caller, path, photo[1000:], offset=1000), status=404, code="upload_not_found"
    )
    assert traces.look()["stored"] == 0


def test_taking_back_a_finished_upload_leaves_its_file(
    caller: Caller, path: str, photo: bytes
) -> None:
    file_id = patch(caller, path, photo, offset=0).headers["Pixelmeter-File"]
    assert caller.send("DELETE", path, headers=TUS).status_code == 204
    assert caller.get(f"/v1/files/{file_id}").status_code == 200


def test_clients_that_can_only_post_say_what_they_mean(
    caller: Caller, path: str, photo: bytes
) -> None:
    answer = caller.post(
        path,
        data=photo,
        content_type=BODY,
        headers={**TUS, "Upload-Offset": "0", "X-HTTP-Method-Override": "PATCH"},
    )
    assert answer.status_code == 204
    deleted = caller.post(path, headers={**TUS, "X-HTTP-Method-Override": "DELETE"})
    assert deleted.status_code == 204
    assert_problem(caller.post(path, headers=TUS), status=405, code="method_not_allowed")


def test_another_version_is_refused(caller: Caller, path: str) -> None:
    for method, address in (("POST", "/v1/uploads"), ("PATCH", path), ("DELETE", path)):
        answer = caller.send(method, address, headers={"Tus-Resumable": "0.2.0"})
        assert_problem(answer, status=412, code="tus_version")


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "invalid_upload_header"),
        ({"Upload-Length": "-1"}, "invalid_upload_header"),
        ({"Upload-Length": "1e3"}, "invalid_upload_header"),
        ({"Upload-Length": "9" * 30}, "invalid_upload_header"),
        ({"Upload-Length": "٣"}, "invalid_upload_header"),
        ({"Upload-Length": "9", "Upload-Defer-Length": "1"}, "invalid_upload_header"),
        ({"Upload-Length": "9", "Upload-Metadata": "filename not base64"}, "invalid_upload_header"),
        ({"Upload-Length": "9", "Upload-Metadata": "a AA==,a AA=="}, "invalid_upload_header"),
        ({"Upload-Length": "9", "Upload-Metadata": "a" * 5000}, "invalid_upload_header"),
        ({"Upload-Length": "0"}, "empty_file"),
        ({"Upload-Length": "999999999999"}, "file_too_large"),
    ],
)
def test_a_creation_that_cannot_be_meant_is_refused(
    caller: Caller, traces: Traces, headers: dict[str, str], code: str
) -> None:
    answer = caller.post("/v1/uploads", headers={**TUS, **headers})
    assert answer.json["code"] == code
    assert traces.look()["stored"] == 0


def test_a_piece_of_another_type_is_refused(caller: Caller, path: str) -> None:
    answer = caller.send(
        "PATCH", path, data=b"x", content_type="text/plain", headers={**TUS, "Upload-Offset": "0"}
    )
    assert_problem(answer, status=415, code="unsupported_media_type")


def test_a_strangers_upload_is_not_found(stranger: Caller, path: str) -> None:
    for answer in (
        stranger.get(path),
        patch(stranger, path, b"x", offset=0),
        stranger.send("DELETE", path, headers=TUS),
        stranger.post(f"{path}/complete"),
    ):
        assert_problem(answer, status=404, code="upload_not_found")
    assert head(stranger, path).status_code == 404


def test_an_expired_upload_is_gone(
    caller: Caller, path: str, sessions: sessionmaker[Session]
) -> None:
    with sessions.begin() as session:
        session.execute(text("UPDATE upload SET expires_at = now()"))
    assert_problem(patch(caller, path, b"x", offset=0), status=410, code="upload_expired")
    assert head(caller, path).status_code == 410


def test_a_tenant_has_so_many_uploads_under_way(
    caller: Caller, stranger: Caller, kit: Services
) -> None:
    for _ in range(kit.settings.max_open_uploads):
        assert begin(caller, 10).status_code == 201
    answer = begin(caller, 10)
    assert_problem(answer, status=409, code="too_many_uploads")
    assert begin(stranger, 10).status_code == 201


def test_while_many_pieces_arrive_the_next_is_told_to_come_again(
    caller: Caller, path: str, photo: bytes, kit: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.api import uploads

    monkeypatch.setattr(uploads, "GATE_WAIT_S", 0.01)
    with contextlib.ExitStack() as taken:
        while kit.arrivals.acquire(blocking=False):
            taken.callback(kit.arrivals.release)
        answer = patch(caller, path, photo, offset=0)
        assert_problem(answer, status=503, code="overloaded")
        assert answer.headers["Retry-After"] == "5"
    assert patch(caller, path, photo, offset=0).status_code == 204


def test_the_same_key_is_one_upload(caller: Caller) -> None:
    first, second = (begin(caller, 10, **{"Idempotency-Key": "clip"}) for _ in range(2))
    assert first.status_code == second.status_code == 201
    assert first.headers["Location"] == second.headers["Location"]
    other = begin(caller, 11, **{"Idempotency-Key": "clip"})
    assert_problem(other, status=409, code="idempotency_mismatch")


def test_a_folder_takes_no_direct_uploads(caller: Caller, traces: Traces) -> None:
    answer = caller.post("/v1/uploads", json={"bytes": 10, "name": "a.png"})
    assert_problem(answer, status=409, code="direct_upload_unavailable")
    assert traces.look()["stored"] == 0
