"""The OpenAPI 3.1 document, made from the table of routes and the models it names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from pydantic.json_schema import models_json_schema

from tocsin.console.web.problems import CONTENT_TYPE, Problem
from tocsin.console.web.routes import Api, Route

_PARAMETER = re.compile(r"\{(\w+)\}")
_REFERENCE = "#/components/schemas/{model}"
_WRITES = ("POST", "PUT", "PATCH", "DELETE")


def openapi(routes: Iterable[Route], version: str) -> dict[str, Any]:
    """Of all routes that have an `Api`."""
    documented = [(route, route.api) for route in routes if route.api is not None]
    models = {Problem: None} | {model: None for _, api in documented for model in (api.body, api.answer) if model}
    references, schemas = models_json_schema(
        [(model, "serialization" if model is Problem else "validation") for model in models],
        ref_template=_REFERENCE,
    )
    reference: dict[Any, Any] = {model: schema for (model, _), schema in references.items()}
    paths: dict[str, dict[str, Any]] = {}
    for route, api in documented:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, api, reference)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tocsin",
            "version": version,
            "description": "Sensors, groups, notifications, recipients; activations and deliveries. "
            "Errors are problem details (RFC 9457) with a pointer to each bad field.",
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas.get("$defs", {}),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route, api: Api, reference: dict[Any, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "summary": api.summary,
        "operationId": _operation_id(route),
        "tags": [api.tag],
        "x-role": route.needs,
        "parameters": _parameters(route, api),
        "responses": _responses(route, api, reference),
    }
    if route.needs == "nobody":
        found["security"] = []
    if api.body is not None:
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": reference[api.body]}}}
    return found


def _operation_id(route: Route) -> str:
    words = [word for word in re.split(r"[^a-zA-Z0-9]+", route.path.removeprefix("/api/v1")) if word]
    return "_".join([route.method.lower(), *words])


def _parameters(route: Route, api: Api) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in _PARAMETER.findall(route.path)
    ]
    found += [{"name": one.name, "in": "query", "description": one.text, "schema": one.schema} for one in api.query]
    if api.if_match:
        text = "The ETag of what you have seen, or `*`"
        found.append(
            _header("If-Match", text, required=True, schema={"type": "string", "pattern": r'^(\*|"\d{1,18}")$'})
        )
    if route.method in _WRITES:
        text = "Sent again with the same request, the answer is the same"
        schema = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}
        found.append(_header("Idempotency-Key", text, required=False, schema=schema))
    return found


def _header(name: str, text: str, *, required: bool, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "header", "description": text, "required": required, "schema": schema}


def _responses(route: Route, api: Api, reference: dict[Any, Any]) -> dict[str, Any]:
    good: dict[str, Any] = {"description": HTTPStatus(api.status).phrase}
    if api.answer is not None:
        good["content"] = {"application/json": {"schema": reference[api.answer]}}
    elif api.status != 204:
        good["content"] = {api.media: {"schema": {"type": "string"}}}
    if api.etag:
        good["headers"] = {"ETag": {"description": "Of this revision", "schema": {"type": "string"}}}
    problem = {"content": {CONTENT_TYPE: {"schema": reference[Problem]}}}
    refusals = {status: {"description": HTTPStatus(status).phrase, **problem} for status in _refusals(route, api)}
    return {str(api.status): good, **{str(status): text for status, text in sorted(refusals.items())}}


def _refusals(route: Route, api: Api) -> set[int]:
    found = set(api.refuses) | {400}
    if route.needs != "nobody":
        found |= {401, 403}
    if "{" in route.path:
        found.add(404)
    if api.body is not None:
        found |= {413, 415, 422}
    if api.if_match:
        found |= {412, 428}
    if route.method in _WRITES:
        found |= {422, 503}
    return found
