"""The OpenAPI document names every route, and real answers fit its schemas."""

from typing import Any

import pytest
from apiflask import APIFlask
from flask.testing import FlaskClient
from sqlalchemy.orm import Session, sessionmaker
from werkzeug.test import TestResponse

from app.api.openapi import openapi_path
from app.api.schemas import Problem
from tests.app.api.callers import Caller, job_body, run_and_settle

METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE"}
UNDESCRIBED = {"/openapi.json", "/docs"}


@pytest.fixture
def document(client: FlaskClient) -> dict[str, Any]:
    return client.get("/openapi.json").json


def test_every_route_is_described(app: APIFlask, document: dict[str, Any]) -> None:
    for rule in app.url_map.iter_rules():
        path = openapi_path(rule.rule)
        if path in UNDESCRIBED:
            continue
        for method in rule.methods & METHODS:
            operation = document["paths"][path][method.lower()]
            assert operation["summary"], path
            assert operation["responses"]["default"]["content"]["application/problem+json"]


def test_only_public_addresses_are_described_as_open(document: dict[str, Any]) -> None:
    open_paths = {
        path
        for path, operations in document["paths"].items()
        for operation in operations.values()
        if operation["security"] == []
    }
    assert open_paths == {
        "/v1/uploads",  # OPTIONS alone
        "/livez",
        "/readyz",
        "/v1/files/{file_id}/content",
        "/v1/jobs/{job_id}/compare",  # by a signed link
        "/v1/batches/{batch_id}/outputs.zip",  # by a signed link
        "/assets/{name}",  # its script and style
    }


def test_every_body_is_closed(document: dict[str, Any]) -> None:
    for path, operations in document["paths"].items():
        for operation in operations.values():
            body = operation.get("requestBody", {"content": {}})
            for media_type, content in body["content"].items():
                schema = resolved(document, content["schema"])
                if schema.get("format") == "binary":
                    continue
                assert schema["additionalProperties"] is False, (path, media_type)


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    def walk(node: object) -> None:
        if isinstance(node, dict):
            if "$ref" in node:
                resolved(document, node)
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(document)


def test_posts_that_create_take_an_idempotency_key(document: dict[str, Any]) -> None:
    for path in ("/v1/jobs", "/v1/files", "/v1/webhook-endpoints", "/v1/admin/tenants"):
        names = [each["name"] for each in document["paths"][path]["post"]["parameters"]]
        assert "Idempotency-Key" in names


def resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        name = schema["$ref"].removeprefix("#/components/schemas/")
        schema = document["components"]["schemas"][name]
    return schema


def fits(app: APIFlask, answer: TestResponse) -> None:
    """Hold an answer against the model that its address is described with."""
    if answer.content_type == "application/problem+json":
        Problem.model_validate_json(answer.data, strict=True)
        return
    asked = answer.request
    endpoint, _ = app.url_map.bind("localhost").match(asked.path, method=asked.method)
    described = app.view_functions[endpoint]._spec["response"]
    assert answer.status_code == described["status_code"], (asked.path, answer.text)
    described["schema"].model_validate_json(answer.data, strict=True)


def test_answers_about_files_and_jobs_fit_their_schemas(
    app: APIFlask, caller: Caller, file_id: str, photo: bytes, sessions: sessionmaker[Session]
) -> None:
    job = caller.post("/v1/jobs", json=job_body(file_id, metadata={"k": "v"}))
    canceled = caller.post("/v1/jobs", json=job_body(file_id)).json["id"]
    path = f"/v1/jobs/{job.json['id']}"
    for answer in (
        caller.upload(photo),
        caller.get(f"/v1/files/{file_id}"),
        caller.get("/v1/files/file_nothing"),
        caller.post("/v1/quotes", json=job_body(file_id)),
        job,
        caller.get("/v1/jobs"),
        caller.get(path),
        caller.get("/v1/jobs/job_nothing"),
        caller.post(f"/v1/jobs/{canceled}/cancel"),
    ):
        fits(app, answer)
    run_and_settle(sessions, job.json["id"])
    fits(app, caller.get(path))
    fits(app, caller.get("/v1/jobs"))


def test_answers_about_money_and_models_fit_their_schemas(
    app: APIFlask, caller: Caller, admin: Caller, file_id: str
) -> None:
    caller.post("/v1/jobs", json=job_body(file_id))
    tenant = admin.post("/v1/admin/tenants", json={"name": "new", "tokens": 5})
    keys = f"/v1/admin/tenants/{tenant.json['id']}/keys"
    for answer in (
        caller.get("/v1/balance"),
        caller.get("/v1/ledger"),
        caller.get("/v1/models"),
        tenant,
        admin.post(keys, json={"expires_at": "2030-01-01T00:00:00Z"}),
        admin.get("/v1/admin/queues"),
        admin.get("/v1/admin/audit"),
        caller.client.get("/livez"),
        caller.client.get("/readyz"),
    ):
        fits(app, answer)


def test_answers_about_webhooks_fit_their_schemas(app: APIFlask, caller: Caller) -> None:
    made = caller.post("/v1/webhook-endpoints", json={"url": "https://example.com/hook"})
    path = f"/v1/webhook-endpoints/{made.json['id']}"
    tested = caller.post(f"{path}/test")
    deliveries = caller.get("/v1/webhook-deliveries")
    delivery_id = deliveries.json["data"][0]["id"]
    for answer in (
        made,
        caller.get("/v1/webhook-endpoints"),
        caller.get(path),
        caller.post(f"{path}/rotate-secret"),
        tested,
        deliveries,
        caller.post(f"/v1/webhook-deliveries/{delivery_id}/replay"),
    ):
        fits(app, answer)


def test_the_docs_page_loads_nothing_from_elsewhere(client: FlaskClient) -> None:
    answer = client.get("/docs")
    assert answer.status_code == 200
    assert "/v1/jobs" in answer.text
    assert 'id="insufficient_tokens"' in answer.text
    assert "<script" not in answer.text
    assert "http://" not in answer.text
    assert "https://" not in answer.text.replace("https://example.com", "")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
