"""From a node's parameters to an HTTP request: address, headers, credential, body."""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlencode

from yarl import URL

from flowrunner.errors import FlowRunnerError, LimitExceeded
from flowrunner.jsonvalue import JSONObject, JSONValue, dumps
from flowrunner.tasks.client import MAX_REDIRECTS, GuardedClient, Response, Unreachable
from flowrunner.tasks.egress import EgressRefused
from flowrunner.tasks.http import METHODS, may_send
from flowrunner.tasks.nodes.kind import NodeCall, NodeFailed
from flowrunner.tasks.nodes.reading import Params, bad, flag, given, mapping, optional_text, seconds, text
from flowrunner.tasks.secrecy import expose

LONGEST_SECONDS = 3600.0
FILES = 20  # of one request


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be sent."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes | None
    seconds: float
    redirects: int


def request_of(call: NodeCall) -> Request:
    """The request that parameters ask for. Raises NodeFailed naming the one that cannot be used."""
    params = call.params
    method = text(params, "method", default="GET").upper()
    if method not in METHODS:
        raise bad(f"The parameter 'method' must be one of {', '.join(sorted(METHODS))}.")
    headers = headers_of(params) | _credential(params)
    body = _body(params, headers)
    if body is not None and method in ("GET", "HEAD") and given(params, "body") is None:
        raise bad(f"A form is not sent with {method}; set 'method' to POST.")
    redirects = MAX_REDIRECTS if flag(params, "follow_redirects", default=True) else 0
    return Request(method, _url(call), headers, body, seconds(params, "timeout", default=60.0, high=LONGEST_SECONDS), redirects)


async def send(client: GuardedClient, request: Request) -> Response:
    """The answer. Raises NodeFailed with the documented errors; TimeoutError."""
    try:
        return await client.request(
            request.method, request.url, headers=request.headers, body=request.body, seconds=request.seconds, redirects=request.redirects
        )  # fmt: skip
    except EgressRefused as error:
        raise NodeFailed(str(error), error="FlowRunner.EgressRefused") from None
    except LimitExceeded as error:
        raise NodeFailed(error.message, error="States.DataLimitExceeded") from None
    except Unreachable as error:
        raise NodeFailed(error.message, error="States.Http.Socket") from None
    except FlowRunnerError as error:
        raise NodeFailed(str(error), error="States.Http.Socket") from None


def headers_of(params: Params) -> dict[str, str]:
    """The parameter ``headers``. Raises NodeFailed for one that may not be sent."""
    found: dict[str, str] = {}
    for name, value in mapping(params, "headers").items():
        parts = [_text(one) for one in value] if isinstance(value, list) else [_text(value)]
        if not may_send(name, parts):
            raise bad(f"The header {dumps(name[:100])} cannot be sent.")
        found[name] = ", ".join(parts)
    return found


def _url(call: NodeCall) -> str:
    url = optional_text(call.params, "url")
    if url is None:
        path = optional_text(call.params, "path")
        base = (call.raw.get("variables") or {}).get("baseUrl")
        if path is None or not isinstance(base, str):
            raise bad("The parameter 'url' is missing (or 'path' with the variable 'baseUrl').")
        url = f"{base.rstrip('/')}/{path.lstrip('/')}"
    query = list(_pairs(mapping(call.params, "query")))
    try:
        return str(URL(url).extend_query(query)) if query else url
    except ValueError:
        raise bad("The parameter 'url' cannot be read.") from None


def _credential(params: Params) -> dict[str, str]:
    auth = mapping(params, "auth")
    top = {name: params[name] for name in ("username", "password", "api_key", "key_name") if params.get(name) is not None}
    if params.get("bearer_token") is not None:
        top["token"] = params["bearer_token"]
    auth = {**top, **auth}
    kind = auth.get("type") or ("bearer" if "token" in auth else "api_key" if "api_key" in auth else "basic" if "username" in auth else None)
    if kind is None:
        return {}
    match str(kind).lower():
        case "bearer" | "token":
            name, value = "Authorization", f"Bearer {text(auth, 'token')}"
        case "api_key" | "apikey":
            name, value = text(auth, "key_name", default="X-API-Key"), text(auth, "api_key")
        case "basic":
            pair = f"{text(auth, 'username')}:{text(auth, 'password', default='')}"
            encoded = base64.b64encode(pair.encode()).decode()
            expose([encoded])  # a server may send it back, and it hides a secret in another form
            name, value = "Authorization", f"Basic {encoded}"
        case _:
            raise bad("The parameter 'auth.type' must be basic, bearer or api_key.")
    if not may_send(name, [value]):
        raise bad("The credential cannot be sent as a header: it has a line break, or the header's name is not allowed.")
    return {name: value}


def _body(params: Params, headers: dict[str, str]) -> bytes | None:
    body, form, file = params.get("body"), mapping(params, "form_data"), params.get("file")
    if body is not None and (form or file is not None):
        raise bad("Only one of the parameters 'body' and 'form_data' (with 'file') can be sent.")
    typed = any(name.lower() == "content-type" for name in headers)
    if file is not None:
        if typed:
            raise bad("With 'file' the header Content-Type is made here; leave it out.")
        boundary = f"flowrunner-{secrets.token_hex(16)}"
        headers["Content-Type"] = f"multipart/form-data; boundary={boundary}"
        return _multipart(boundary, form, file if isinstance(file, list) else [file])
    if form:
        if not typed:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        return urlencode(list(_pairs(form))).encode()
    if body is None:
        return None
    if isinstance(body, str):
        return body.encode()
    if not typed:
        headers["Content-Type"] = "application/json"
    return dumps(body).encode()


def _multipart(boundary: str, form: JSONObject, files: list[JSONValue]) -> bytes:
    """RFC 7578; names are escaped as the HTML standard has it."""
    parts: list[bytes] = []
    for name, value in _pairs(form):
        parts.append(f'--{boundary}\r\nContent-Disposition: form-data; name="{_escaped(name)}"\r\n\r\n{value}\r\n'.encode())
    if len(files) > FILES:
        raise bad(f"The parameter 'file' has at most {FILES} files.")
    for file in files:
        if not isinstance(file, dict):
            raise bad("The parameter 'file' must be an object such as {filename, content}: files of the server are not read.")
        kind = text(file, "content_type", default="application/octet-stream")
        if not may_send("Content-Type", [kind]):
            raise bad("The parameter 'file.content_type' has a line break.")
        name, filename = _escaped(text(file, "name", default="file")), _escaped(text(file, "filename", default="file"))
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\nContent-Type: {kind}\r\n\r\n'
        parts += [head.encode(), content_of(file, "file"), b"\r\n"]
    return b"".join([*parts, f"--{boundary}--\r\n".encode()])


def content_of(file: JSONObject, place: str) -> bytes:
    """A file's bytes, of ``content`` or ``content_base64``. Raises NodeFailed."""
    encoded = optional_text(file, "content_base64")
    if encoded is None:
        return _text(given(file, "content") or "").encode()
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise bad(f"The parameter '{place}.content_base64' is no base64.") from None


def _escaped(name: str) -> str:
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def _pairs(values: JSONObject) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        for one in value if isinstance(value, list) else [value]:
            if one is not None:
                yield name, _text(one)


def _text(value: JSONValue) -> str:
    return value if isinstance(value, str) else dumps(value)
