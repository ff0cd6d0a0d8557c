import pytest

from app.api.validation import pointer_to, validated
from app.errors import InvalidRequestError
from app.jobs.spec import JobRequest

JOB = {"engine": "detect", "input": {"target": {"file": "file_1"}}}


def refusal(document: dict) -> InvalidRequestError:
    with pytest.raises(InvalidRequestError) as caught:
        validated(JobRequest, document)
    return caught.value


def test_a_good_job_passes() -> None:
    assert validated(JobRequest, JOB).engine == "detect"


@pytest.mark.parametrize(
    ("extra", "pointer"),
    [
        ({"price": 0}, "/price"),
        ({"tenant_id": "ten_1"}, "/tenant_id"),
        ({"is_admin": True}, "/is_admin"),
        ({"input": {"target": {"file": "f"}, "mask": 1}}, "/input/mask"),
        ({"input": {"target": {"file": "f", "path": "/etc"}}}, "/input/target/path"),
        ({"a/b": 1}, "/a~1b"),
    ],
)
def test_an_unknown_field_is_named(extra: dict, pointer: str) -> None:
    error = refusal(JOB | extra)
    assert (error.status, error.code) == (400, "unknown_field")
    assert pointer in [place.pointer for place in error.errors]


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"engine": 7}, "/engine"),
        ({"token_quota": "1"}, "/token_quota"),
        ({"token_quota": True}, "/token_quota"),
        ({"token_quota": -1}, "/token_quota"),
        ({"token_quota": 2**63}, "/token_quota"),
        ({"priority": "urgent"}, "/priority"),
        ({"start_deadline_s": "5"}, "/start_deadline_s"),
        ({"start_deadline_s": 1.5}, "/start_deadline_s"),
        ({"max_runtime_s": 0}, "/max_runtime_s"),
        ({"params": []}, "/params"),
        ({"metadata": {"k": None}}, "/metadata"),
        ({"input": {}}, "/input/target"),
        ({"input": {"target": {}}}, "/input/target"),
        ({"input": {"target": {"file": 1}}}, "/input/target/file"),
        ({"input": {"target": {"url": "ftp://x"}}}, "/input/target/url"),
        (
            {"input": {"target": {"file": "f"}, "source": {"file": 1}}},
            "/input/source/file",
        ),
        (
            {"input": {"target": {"file": "f"}, "source": [{"file": "f"}, {"file": 1}]}},
            "/input/source/1/file",
        ),
        ({"webhook": {"url": "https://x.example", "events": ["job.x"]}}, "/webhook/events/0"),
    ],
)
def test_a_wrong_value_is_pointed_at(change: dict, pointer: str) -> None:
    error = refusal(JOB | change)
    assert (error.status, error.code) == (422, "invalid_request")
    assert [place.pointer for place in error.errors] == [pointer]


def test_missing_fields_are_all_told() -> None:
    error = refusal({})
    assert {place.pointer for place in error.errors} == {"/engine", "/input"}
    assert {place.code for place in error.errors} == {"missing_field"}


def test_names_of_union_members_are_left_out_of_pointers() -> None:
    document = {"a": [{"b": 1}]}
    assert pointer_to(("a", 0, "Circle", "b"), document) == "/a/0/b"
