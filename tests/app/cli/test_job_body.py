from pathlib import Path

import click
import pytest

from app.cli.job_body import JobChoices, job_body, parse_params
from app.jobs.spec import JobRequest


def test_values_that_are_json_are_read_as_json_and_others_as_text():
    params = parse_params(
        ["conf=0.4", "annotate=true", "img_size=[384,640]", "type=person", "a=b=c"]
    )
    assert params == {
        "conf": 0.4,
        "annotate": True,
        "img_size": [384, 640],
        "type": "person",
        "a": "b=c",
    }


@pytest.mark.parametrize("text", ["conf", "=3", ""])
def test_a_pair_without_a_name_is_told_with_an_example(text):
    with pytest.raises(click.BadParameter, match=r"NAME=VALUE.*--param conf"):
        parse_params([text])


def test_the_body_is_one_that_the_api_accepts():
    choices = JobChoices(
        engine="face-swap",
        model="classical",
        params={"faces": "many"},
        sources=(Path("me.jpg"),),
        priority="bulk",
        token_quota=12.5,
        webhook="https://example.com/hook",
        consent=True,
        cache=False,
    )
    body = job_body(choices, target="file_1", sources=[{"file": "file_2"}])
    request = JobRequest.model_validate(body)
    assert request.input.source[0].file == "file_2"
    assert float(request.token_quota) == 12.5
    assert not request.cache


def test_what_was_not_chosen_is_not_in_the_body():
    choices = JobChoices(engine="detect", model=None, params={})
    body = job_body(choices, target="file_1", sources=[])
    assert set(body) == {"engine", "input", "params", "priority"}
    JobRequest.model_validate(body)
