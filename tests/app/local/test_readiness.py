"""What counts as an answer: a port that refuses its key is there, one that fails is not."""

import pytest

from app.local.ports import free_port
from app.local.readiness import api_answers, comfyui_answers
from tests.app.web_server import answering, serving


@pytest.mark.parametrize(
    ("status", "api", "comfyui"), [(200, True, True), (401, False, True), (503, False, False)]
)
def test_readiness_is_a_matter_of_the_status(status, api, comfyui):
    text = f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n".encode()
    with serving(answering(text), times=2) as port:
        assert api_answers(port) is api
        assert comfyui_answers(port) is comfyui


def test_nobody_is_not_ready():
    assert not api_answers(free_port())
    assert not comfyui_answers(free_port())
