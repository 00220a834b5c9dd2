"""The OpenAPI 3.1 document, written from the routes: their paths, permissions, docstrings and contracts; and a page that shows it."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

import msgspec
import orjson
from litestar import Response, get
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler

from flowrunner import __version__
from flowrunner.api.contract import HTML, JSON, YAML, Contract, Media, Parameter
from flowrunner.api.contracts import CONTRACTS
from flowrunner.api.docspage import page
from flowrunner.api.identify import PUBLIC
from flowrunner.api.problems import PROBLEM, ProblemError

OPENAPI, DOCS = "/openapi.json", "/docs"
# Of any request, which may come with any headers and any body: no HTTP, another Host or Origin, too slow, too large, compressed, one of too many, too many headers.
EVERYWHERE = (400, 403, 408, 413, 415, 429, 431, 503)
_REF = "#/components/schemas/{name}"
_PARAMETER = re.compile(r"\{(\w+):(\w+)\}")
_CODE = re.compile(r"``([^`]*)``")


class ProblemDetails(msgspec.Struct, kw_only=True):
    """What went wrong with a request (RFC 9457). `code` is stable, `trace_id` is the request's in the server's log."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    trace_id: str
    errors: list[ProblemError] | msgspec.UnsetType = msgspec.UNSET


def contract_of(handler: BaseRouteHandler) -> Contract | None:
    """What a route takes and gives."""
    found: Contract | None = handler.opt.get("contract")
    return found or CONTRACTS.get(getattr(handler, "operation_id", None) or "")


def contracts_of(handlers: Iterable[BaseRouteHandler]) -> list[tuple[HTTPRouteHandler, str, Contract]]:
    """The routes, each with a path and its contract; raises TypeError for a route without a contract."""
    routes = [(handler, path, contract_of(handler)) for handler in handlers if isinstance(handler, HTTPRouteHandler) for path in sorted(handler.paths)]
    missing = [path for _, path, contract in routes if contract is None]
    if missing:
        raise TypeError(f"These routes have no contract: {', '.join(missing)}.")
    return [(handler, path, contract) for handler, path, contract in routes if contract is not None]


def document(handlers: Iterable[BaseRouteHandler]) -> dict[str, Any]:
    """The document of these routes; raises TypeError for a route without a contract."""
    routes = contracts_of(handlers)
    known = [contract for _, _, contract in routes]
    said = (kind for contract in known for kind in (contract.takes, *contract.gives.values()))
    types = [kind for kind in (one.also if isinstance(one, Media) else one for one in said) if kind is not None]
    schemas, components = msgspec.json.schema_components([*types, ProblemDetails], ref_template=_REF)
    by_type = {_key(kind): schema for kind, schema in zip([*types, ProblemDetails], schemas, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for handler, path, contract in routes:
        for method in handler.http_methods:
            if method not in ("HEAD", "OPTIONS"):
                paths.setdefault(_PARAMETER.sub(r"{\1}", path), {})[method.lower()] = _operation(handler, path, contract, by_type)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "FlowRunner",
            "version": __version__,
            "description": "Executions are also followed live, on the sockets `/api/v1/ws` and `/api/v2/workflows/runs/{run}/stream`: see `/asyncapi.json`.",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}, "basic": {"type": "http", "scheme": "basic"}},
        },
    }


def _key(kind: Any) -> str:
    return repr(kind)


def _operation(handler: HTTPRouteHandler, path: str, contract: Contract, schemas: Mapping[str, Any]) -> dict[str, Any]:
    text = _CODE.sub(r"`\1`", inspect.getdoc(handler.fn) or "")
    public = handler.opt.get("permission") == PUBLIC
    made: dict[str, Any] = {
        "operationId": handler.operation_id,
        "summary": text.partition("\n")[0],
        "tags": [_tag(path)],
        "security": [] if public else [{"bearer": []}, {"basic": []}],
        "parameters": _parameters(path, contract),
        "responses": _responses(contract, schemas, public=public, parts="{" in path),
    }
    if not public:
        made["x-permission"] = str(handler.opt["permission"])
    if contract.takes is not None:
        schema = schemas[_key(contract.takes)]
        required = (
            not isinstance(contract.takes, type)
            or not issubclass(contract.takes, msgspec.Struct)
            or any(field.required for field in msgspec.structs.fields(contract.takes))
        )
        made["requestBody"] = {"required": required, "content": {JSON: {"schema": schema}}}
    return made


def _tag(path: str) -> str:
    parts = [part for part in path.split("/") if part and not part.startswith("{")]
    return " ".join(parts[1:3]) if parts[:1] == ["api"] else "server"


def _parameters(path: str, contract: Contract) -> list[dict[str, Any]]:
    found = [{"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}} for name, _ in _PARAMETER.findall(path)]
    found += [_query(parameter) for parameter in contract.query]
    if contract.keyed:
        meaning = "Sent again with the same key within 24 hours, the request is answered as the first time."
        found.append(_header("Idempotency-Key", meaning, {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}))
    if contract.tagged:
        found.append(_header("If-Match", 'The version that must be stored, such as `"3"`.', {"type": "string", "pattern": '^("[0-9]{1,18}"|\\*)$'}))
    return found


def _header(name: str, meaning: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "description": meaning, "schema": schema}


def _query(parameter: Parameter) -> dict[str, Any]:
    bounds = {"minimum": parameter.least, "maximum": parameter.most, "enum": list(parameter.choices) or None}
    schema = {"type": parameter.kind, **{name: value for name, value in bounds.items() if value is not None}}
    return {"name": parameter.name, "in": "query", "required": False, "description": parameter.meaning, "schema": schema}


def _responses(contract: Contract, schemas: Mapping[str, Any], *, public: bool, parts: bool) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for status, kind in sorted(contract.gives.items()):
        made[str(status)] = {"description": HTTPStatus(status).phrase}
        if isinstance(kind, Media):
            made[str(status)]["content"] = {kind.type: {"schema": {} if kind.type == YAML else {"type": "string"}}}
            if kind.also is not None:
                made[str(status)]["content"][JSON] = {"schema": schemas[_key(kind.also)]}
        elif kind is not None:
            made[str(status)]["content"] = {JSON: {"schema": schemas[_key(kind)]}}
    failing = {*EVERYWHERE, *contract.fails, *(() if public else (401,)), *((404,) if parts else ())}
    failing |= {409, 422} if contract.keyed else set()
    for status in sorted(failing):
        made[str(status)] = {"description": HTTPStatus(status).phrase, "content": {PROBLEM: {"schema": schemas[_key(ProblemDetails)]}}}
        if status in (429, 503):
            made[str(status)]["headers"] = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}}
    return made


def routes(handlers: Iterable[BaseRouteHandler]) -> list[HTTPRouteHandler]:
    """The document and the page, of these routes and of themselves; written when they are first asked for, which a start does not wait for."""

    @functools.cache
    def written() -> dict[str, Any]:
        return document(whole)

    @functools.cache
    def as_json() -> bytes:
        return orjson.dumps(written())

    @functools.cache
    def as_page() -> bytes:
        return page(written()).encode()

    @get(OPENAPI, permission=PUBLIC, operation_id="openapi", contract=Contract(gives={200: dict[str, Any]}))
    async def show_document() -> Response[bytes]:
        """The OpenAPI 3.1 document of this server."""
        return Response(as_json(), media_type=JSON)

    @get(DOCS, permission=PUBLIC, operation_id="docs", contract=Contract(gives={200: Media(HTML)}))
    async def show_page() -> Response[bytes]:
        """The routes as a page; it loads nothing from anywhere, and what is typed into its console may call this server."""
        return Response(
            as_page(),
            media_type=HTML,
            headers={"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; connect-src 'self'"},
        )

    own = [show_document, show_page]
    whole = [*handlers, *own]
    contracts_of(whole)
    return own
