"""Recharges from a file: each row its own amount, each file once."""

from apiflask import APIFlask

from tests.app.api.admin_recharges.conftest import BULK, Books
from tests.app.api.callers import Caller, assert_problem
from tests.app.api.test_openapi import fits


def send_file(caller: Caller, content: bytes, *, key: str | None = None, **fields: str):
    parts = {"operator": "desk 3", "reason": "spring", **fields}
    head = b"".join(
        b'--mark\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'
        % (name.encode(), value.encode())
        for name, value in parts.items()
    )
    file = b'--mark\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
    return caller.post(
        BULK,
        data=head + file + content + b"\r\n--mark--\r\n",
        content_type="multipart/form-data; boundary=mark",
        headers={} if key is None else {"Idempotency-Key": key},
    )


def test_a_file_gives_each_user_its_own_amount(app: APIFlask, alice: Caller, books: Books) -> None:
    content = b"user,amount,expires_at\nann,1,\nben,2.5,2100-01-01\nnobody,3,\ncem,-4,\n"
    answer = send_file(alice, content)
    assert answer.status_code == 200, answer.text
    fits(app, answer)
    codes = {each["user"]: each["code"] for each in answer.json["failed_users"]}
    assert codes == {"nobody": "unknown_user", "cem": "invalid_amount"}
    assert books.available() == {"ann": 1, "ben": 2, "cem": 0}


def test_a_file_is_booked_once(alice: Caller, books: Books) -> None:
    content = b"user,amount\nann,1\n"
    first = send_file(alice, content)
    rows = books.rows()
    assert send_file(alice, content).json == first.json
    for answer in (send_file(alice, content, key="other"), send_file(alice, content, reason="x")):
        assert (
            first.json["id"]
            in assert_problem(answer, status=409, code="file_already_sent")["detail"]
        )
    assert books.rows() == rows
    assert send_file(alice, content, repeat="true").json["id"] != first.json["id"]
    assert books.available()["ann"] == 2


def test_a_file_with_a_bad_row_is_refused_as_a_whole_in_mode_atomic(
    alice: Caller, books: Books
) -> None:
    answer = send_file(alice, b"user,amount\nann,1\nnobody,1\n", mode="atomic")
    problem = assert_problem(answer, status=422, code="unknown_user")
    assert "nobody" in problem["detail"]
    assert books.available()["ann"] == 0


WRONG_FILES = (
    (b"\xef\xbb\xbfuser,amount\nann,1\n", "csv_byte_order_mark"),
    (b"user;amount\nann;1\n", "csv_semicolons"),
    (b"user,amount\nann,1\n=1+1,2\n", "csv_formula_cell"),
    (b"ann,1\n", "csv_header_missing"),
    (b"", "csv_empty"),
    (b"user,amount\n\xff,1\n", "csv_not_utf8"),
)


def test_a_wrong_file_has_a_code_and_leaves_nothing(alice: Caller, books: Books) -> None:
    before = books.rows()
    for content, code in WRONG_FILES:
        assert_problem(send_file(alice, content), status=422, code=code)
    assert books.rows() == before


def test_a_huge_file_is_refused_before_it_is_read(alice: Caller, books: Books) -> None:
    """1 GB announced: nothing of it is read. Not announced: reading stops at the limit."""

    class Endless:
        """A gigabyte of lines that counts how much of it was taken."""

        taken = 0

        def read(self, size: int = -1) -> bytes:
            assert size > 0
            self.taken += size
            return b"ann,1\n" * (size // 6 + 1)

    form = "multipart/form-data; boundary=mark"
    announced, silent = Endless(), Endless()
    environ = {"wsgi.input": announced, "CONTENT_LENGTH": str(2**30)}
    answer = alice.post(BULK, content_type=form, environ_overrides=environ)
    assert_problem(answer, status=413, code="body_too_large")
    assert announced.taken == 0

    head = b'--mark\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
    first = silent.read

    def read(size: int = -1) -> bytes:
        return head if silent.taken == 0 and first(size) else first(size)

    silent.read = read  # type: ignore[method-assign]
    environ = {"wsgi.input": silent, "wsgi.input_terminated": True, "CONTENT_LENGTH": ""}
    answer = alice.post(BULK, content_type=form, environ_overrides=environ)
    assert_problem(answer, status=413, code="body_too_large")
    assert silent.taken < 10 * 2**20
    assert books.rows()["recharge"] == 0
