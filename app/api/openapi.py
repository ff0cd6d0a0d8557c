"""The parts of the OpenAPI document that hold for every route, and ``/docs`` without a CDN.

APIFlask describes each view; here come the credential, the problem answers and the headers that
all views share. ``/docs`` is plain HTML made from the same document: it loads nothing.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from apiflask import APIBlueprint, APIFlask
from flask import Flask, Response, current_app, render_template_string

from app.api.auth import is_public, public
from app.api.schemas import Problem

README = Path(__file__).with_name("README.md")
CODE_ROW = re.compile(r"^\| `([a-z0-9_]+)` \| ([0-9a-z/ ]+) \| (.+) \|$", re.MULTILINE)

PROBLEM_ANSWER = {
    "description": "Refused; see `code`",
    "headers": {"X-Request-Id": {"schema": {"type": "string"}}},
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same key and body again answer with the same resource.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}

# APIFlask's form of more answers of one address: by status, description and content.
Answers = dict[int | str, dict[str, str | dict[str, dict[str, Any]]]]

JSON = "application/json"
MULTIPART = "multipart/form-data"


def described_body(
    *, json_schema: dict[str, Any], parts: dict[str, Any], required: list[str]
) -> dict[str, Any]:
    """The ``requestBody`` of an address that takes JSON or a form with files."""
    form = {
        "type": "object",
        "properties": parts,
        "required": required,
        "additionalProperties": False,
    }
    content = {JSON: {"schema": json_schema}, MULTIPART: {"schema": form}}
    return {"requestBody": {"required": True, "content": content}}


blueprint = APIBlueprint("docs", __name__, enable_openapi=False)


def describe_security(app: APIFlask) -> None:
    """Declare the credential and let ``/openapi.json`` say what all routes share."""
    app.security_schemes = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "An API key: pm_live_..."}
    }
    app.spec_processor(_processor(app))


def _processor(app: Flask) -> Callable[[dict[str, Any] | str], dict[str, Any] | str]:
    def complete(spec: dict[str, Any] | str) -> dict[str, Any] | str:
        if isinstance(spec, str):  # YAML, which this app does not serve
            return spec
        schemas = spec.setdefault("components", {}).setdefault("schemas", {})
        schemas.update(_problem_schemas())
        public_paths = _public_paths(app)
        for path, operations in spec["paths"].items():
            for operation in operations.values():
                is_open = path in public_paths
                operation["security"] = [] if is_open else [{"bearer": []}]
                operation["responses"].setdefault("default", PROBLEM_ANSWER)
                _name_problem_answers(operation["responses"])
                if "201" in operation["responses"] or "202" in operation["responses"]:
                    operation["parameters"].append(IDEMPOTENCY_KEY)
        return spec

    return complete


def _problem_schemas() -> dict[str, Any]:
    schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    return {**schema.pop("$defs"), "Problem": schema}


def _public_paths(app: Flask) -> frozenset[str]:
    return frozenset(
        openapi_path(rule.rule)
        for rule in app.url_map.iter_rules()
        if is_public(app.view_functions[rule.endpoint])
    )


def openapi_path(rule: str) -> str:
    """``/v1/files/<file_id>`` as OpenAPI writes it: ``/v1/files/{file_id}``."""
    return re.sub(r"<(?:[^<:>]+:)?([^<>]+)>", r"{\1}", rule)


def _name_problem_answers(responses: dict[str, Any]) -> None:
    for status, answer in responses.items():
        if status[0] in "45" and not answer.get("content"):
            answer["content"] = PROBLEM_ANSWER["content"]


def error_codes() -> dict[str, tuple[str, str]]:
    """Every public code with its status and its way out, from this package's README."""
    rows = CODE_ROW.findall(README.read_text(encoding="utf-8"))
    return {code: (status.strip(), way_out.strip()) for code, status, way_out in rows}


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Pixelmeter API</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.3rem .6rem;
border-bottom:1px solid #ddd;vertical-align:top}code{font-family:ui-monospace,monospace}
.method{text-transform:uppercase;font-weight:600}
</style></head><body>
<h1>Pixelmeter API {{ spec.info.version }}</h1>
<p>Send <code>Authorization: Bearer pm_live_...</code>. The full description with every schema
is <a href="/openapi.json">/openapi.json</a>; any OpenAPI viewer shows it.</p>
<h2>Addresses</h2><table><tr><th>method</th><th>path</th><th>does</th></tr>
{% for path, operations in spec.paths.items() %}{% for method, operation in operations.items() %}
<tr><td class="method">{{ method }}</td><td><code>{{ path }}</code></td>
<td>{{ operation.summary }}</td></tr>
{% endfor %}{% endfor %}</table>
<h2>Error codes</h2><table><tr><th>code</th><th>status</th><th>way out</th></tr>
{% for code, (status, way_out) in codes.items() %}
<tr id="{{ code }}"><td><code>{{ code }}</code></td><td>{{ status }}</td><td>{{ way_out }}</td></tr>
{% endfor %}</table></body></html>"""


@blueprint.get("/docs")
@public
def docs() -> Response:
    """Show the addresses and error codes as one plain page."""
    spec = cast("APIFlask", current_app)._get_spec("json")  # noqa: SLF001 - .spec is not cached
    page = render_template_string(PAGE, spec=spec, codes=error_codes())
    policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
    headers = {"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff"}
    return Response(page, content_type="text/html; charset=utf-8", headers=headers)
