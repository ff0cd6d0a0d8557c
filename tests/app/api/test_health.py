from dataclasses import replace

from apiflask import APIFlask
from flask.testing import FlaskClient

from app.api.readiness import NotReadyError
from app.api.services import EXTENSION, Services


def test_a_process_that_answers_lives(client: FlaskClient) -> None:
    answer = client.get("/livez")
    assert (answer.status_code, answer.json) == (200, {"status": "ok"})


def test_without_a_broker_the_process_is_ready_and_degraded(client: FlaskClient) -> None:
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json["status"] == "ok"
    assert answer.json["degraded"] is True
    assert answer.json["checks"]["database"] == "ok"
    assert answer.json["checks"]["migrations"] == "ok"
    assert answer.json["checks"]["storage"] == "ok"


def test_without_its_database_the_process_is_not_ready(app: APIFlask, kit: Services) -> None:
    def away() -> None:
        raise NotReadyError("start PostgreSQL")

    readiness = replace(kit.readiness, needed={"database": away}, _last=None)
    app.extensions[EXTENSION] = replace(kit, readiness=readiness)
    answer = app.test_client().get("/readyz")
    assert answer.status_code == 503
    assert answer.json["status"] == "unavailable"
    assert answer.json["checks"]["database"] == "start PostgreSQL"
