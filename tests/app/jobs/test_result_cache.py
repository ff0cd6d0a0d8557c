"""What makes two jobs the same question."""

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.faces.blocklist import block
from app.jobs.result_cache import cache_key, remember
from tests.app.jobs.shop import Shop

ASKED: dict[str, Any] = {
    "engine": "detect",
    "model": "yolov8n@1",
    "params": {"conf": 0.25, "img_size": None},
    "inputs": [["aa"], []],
    "release": "1.0",
}


def test_the_order_of_parameters_does_not_matter() -> None:
    turned = {**ASKED, "params": {"img_size": None, "conf": 0.25}}
    assert cache_key(**turned) == cache_key(**ASKED)


@pytest.mark.parametrize(
    "change",
    [
        {"engine": "colorize"},
        {"model": "yolov8n@2"},
        {"params": {"conf": 0.3, "img_size": None}},
        {"params": {"conf": 0.25, "img_size": 640}},
        {"inputs": [["ab"], []]},
        {"inputs": [[], ["aa"]]},
        {"inputs": [["aa"], ["aa"]]},
        {"release": "1.1"},
    ],
)
def test_every_difference_in_the_question_is_another_key(change: dict[str, Any]) -> None:
    assert cache_key(**{**ASKED, **change}) != cache_key(**ASKED)


def test_sources_in_another_order_are_another_question() -> None:
    one = {**ASKED, "inputs": [["aa"], ["b", "c"]]}
    other = {**ASKED, "inputs": [["aa"], ["c", "b"]]}
    assert cache_key(**one) != cache_key(**other)


def test_no_earlier_result_with_a_source_is_given_again_once_a_face_is_blocked(
    shop: Shop, sessions: sessionmaker[Session]
) -> None:
    """A copy of a result is looked at by nobody, so none is left when the list grows."""
    faces = {"target": {"file": shop.picture}, "source": {"file": shop.picture}}
    with_source = shop.submit(engine="face-swap", model="classical", input=faces, consent=True)
    without = shop.submit()
    with sessions.begin() as session:
        places = {(shop.tenant_id, job): job for job in (with_source, without)}
        remember(session, places)
        block(
            session,
            shop.box,
            model="net@1",
            vector=[1.0] * 64,
            reason="asked for",
            actor="test",
            now=datetime.now(UTC),
        )
        left = session.scalars(text("SELECT job_id FROM result_cache")).all()
    assert left == [without]
