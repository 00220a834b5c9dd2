"""``arn:aws:states:::http:invoke``: a request to an HTTPS API.

Parameters, answer and error names: https://docs.aws.amazon.com/step-functions/latest/dg/call-https-apis.html
Beyond AWS: ``Authentication`` may be left out, and ``http://`` works where the operator's policy allows the host.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlencode

from yarl import URL

from flowrunner.core.faults import DATA_LIMIT_EXCEEDED
from flowrunner.errors import FlowRunnerError, LimitExceeded
from flowrunner.jsonvalue import JSONObject, JSONValue, dumps, loads
from flowrunner.ports.tasks import Failed, Succeeded, TaskCall, TaskHandler, TaskOutcome
from flowrunner.tasks.answers import bad_parameters, failed, missing_field
from flowrunner.tasks.client import GuardedClient, Response, Unreachable
from flowrunner.tasks.egress import EgressRefused

METHODS = frozenset({"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"})
FIELDS = frozenset({"ApiEndpoint", "Method", "Authentication", "InvocationConfig", "Headers", "QueryParameters", "RequestBody", "Transform"})
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)  # RFC 9110, field-name
# Hop-by-hop headers and those that the connection itself makes.
_OWN_HEADERS = frozenset({"connection", "content-length", "expect", "host", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade", "via"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """What a named connection adds to a request: its credential. Never logged, never part of an answer."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: Mapping[str, JSONValue] = field(default_factory=dict, repr=False)
    renew: Callable[[], object] | None = None  # called when the server refuses the credential: a kept token is fetched anew


class ConnectionFailed(FlowRunnerError):
    """The connection cannot be used: its credential is missing, or was not given."""

    code = "connection_failed"
    fault = "definition"
    status = 502


class Connections(Protocol):
    """Where named connections come from; handed over by wiring."""

    async def connection(self, account: str, arn: str) -> Connection | None:
        """The connection of this ARN, None when the account has none. Raises ConnectionFailed."""
        ...


class NoConnections:
    """An installation without connections."""

    async def connection(self, account: str, arn: str) -> Connection | None:
        """None, always."""
        del account, arn
        return None


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    url: str
    headers: dict[str, str]
    body: bytes | None


class _BadField(Exception):
    """A parameter that cannot be used; the message names it."""


class HttpTask(TaskHandler):
    """Sends the request; a status from 400 fails the state as ``States.Http.StatusCode.N``."""

    def __init__(self, client: GuardedClient, connections: Connections | None = None) -> None:
        self._client = client
        self._connections = connections or NoConnections()

    async def run(self, call: TaskCall) -> TaskOutcome:
        """``{Headers, ResponseBody, StatusCode, StatusText}``.

        Errors: ``States.Http.StatusCode.N`` (cause: the body), ``States.Http.Socket`` (no connection, no answer in 60 s),
        ``FlowRunner.EgressRefused``, ``Events.ConnectionResource.ResourceNotFound``, ``Events.ConnectionResource.NotAuthorized``,
        ``States.DataLimitExceeded``.
        """
        parameters = loads(call.parameters)
        if not isinstance(parameters, dict):
            return bad_parameters(call.parameters, "Parameters must be a JSON object")
        for required in ("ApiEndpoint", "Method"):
            if not isinstance(parameters.get(required), str):
                return missing_field(call.parameters, required)
        connection = await self._connection(call, parameters)
        if isinstance(connection, Failed):
            return connection
        try:
            request = _request(parameters, connection)
            answer = await self._client.request(request.method, request.url, headers=request.headers, body=request.body)
        except _BadField as error:
            return bad_parameters(call.parameters, str(error))
        except EgressRefused as error:
            return failed("FlowRunner.EgressRefused", str(error))
        except LimitExceeded as error:
            return failed(DATA_LIMIT_EXCEEDED, error.message)
        except TimeoutError:
            return failed("States.Http.Socket", "The request timed out.")
        except Unreachable as error:
            return failed("States.Http.Socket", error.message)
        except FlowRunnerError as error:
            return failed("States.Http.Socket", str(error))
        if answer.status == 401 and connection.renew is not None:
            connection.renew()
        if answer.status >= 400:
            return failed(f"States.Http.StatusCode.{answer.status}", answer.body.decode("utf-8", "replace") or answer.reason)
        return Succeeded(_output(answer))

    async def _connection(self, call: TaskCall, parameters: JSONObject) -> Connection | Failed:
        authentication = parameters.get("Authentication", parameters.get("InvocationConfig"))
        if authentication is None:
            return Connection()
        arn = authentication.get("ConnectionArn") if isinstance(authentication, dict) else None
        if not isinstance(arn, str):
            return missing_field(call.parameters, "Authentication.ConnectionArn")
        try:
            found = await self._connections.connection(call.account, arn)
        except ConnectionFailed as error:
            return failed("Events.ConnectionResource.NotAuthorized", error.message)
        if found is None:
            return failed("Events.ConnectionResource.ResourceNotFound", f"Connection {arn} does not exist.")
        return found


def _output(answer: Response) -> str:
    _, text = answer.value()
    head = dumps({"Headers": answer.headers})[:-1]
    rest = dumps({"StatusCode": answer.status, "StatusText": answer.reason})[1:]
    return f'{head},"ResponseBody":{text},{rest}'


def _request(parameters: JSONObject, connection: Connection) -> _Request:
    unknown = sorted(set(parameters) - FIELDS)
    if unknown:
        raise _BadField(f"The field '{unknown[0]}' is not supported by Step Functions")
    method = parameters["Method"].upper()
    if method not in METHODS:
        raise _BadField("The value for the field 'Method' is not valid")
    headers = _headers(parameters.get("Headers")) | dict(connection.headers)
    transform = _object(parameters, "Transform")
    body = _body(parameters.get("RequestBody"), connection.body, headers, transform)
    query = list(_pairs(_object(parameters, "QueryParameters"), "REPEAT")) + list(connection.query.items())
    return _Request(method, _with_query(parameters["ApiEndpoint"], query), headers, body)


def _object(parameters: JSONObject, name: str) -> JSONObject:
    value = parameters.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _BadField(f"The value for the field '{name}' must be an object")
    return value


def may_send(name: str, texts: Iterable[str]) -> bool:
    """Whether a definition may send a header of this name with these values."""
    return _TOKEN.fullmatch(name) is not None and name.lower() not in _OWN_HEADERS and not any(sign in text for text in texts for sign in "\r\n\0")


def _headers(value: JSONValue) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, given in _object({"Headers": value}, "Headers").items():
        texts = [_text(one) for one in given] if isinstance(given, list) else [_text(given)]
        if not may_send(name, texts):
            raise _BadField(f"The header '{dumps(name)[1:-1]}' is not allowed")
        found[name] = ", ".join(texts)
    return found


def _body(value: JSONValue, added: Mapping[str, JSONValue], headers: dict[str, str], transform: JSONObject) -> bytes | None:
    if added and isinstance(value, dict | None):
        value = {**(value or {}), **added}
    if value is None:
        return None
    kind = next((text for name, text in headers.items() if name.lower() == "content-type"), None)
    if transform.get("RequestBodyEncoding") == "URL_ENCODED" or (kind or "").partition(";")[0].strip() == "application/x-www-form-urlencoded":
        if not isinstance(value, dict):
            raise _BadField("The value for the field 'RequestBody' must be an object to be URL encoded")
        arrays = _object(transform, "RequestEncodingOptions").get("ArrayFormat", "INDICES")
        if kind is None:
            headers["Content-Type"] = "application/x-www-form-urlencoded;charset=utf-8"
        return urlencode(list(_pairs(value, str(arrays)))).encode()
    if kind is None:
        headers["Content-Type"] = "application/json"
    if isinstance(value, str) and kind is not None and "json" not in kind:
        return value.encode()
    return dumps(value).encode()


def _pairs(value: JSONObject, arrays: str) -> Iterator[tuple[str, str]]:
    for name, given in value.items():
        if isinstance(given, list):
            yield from _array(name, [_text(one) for one in given], arrays)
        elif isinstance(given, dict):
            yield from ((f"{name}[{key}]", text) for key, text in _pairs(given, arrays))
        elif given is not None:
            yield name, _text(given)


def _array(name: str, texts: list[str], form: str) -> Iterator[tuple[str, str]]:
    if form == "COMMAS":
        yield name, ",".join(texts)
        return
    endings = {"INDICES": "[{n}]", "BRACKETS": "[]", "REPEAT": ""}
    if form not in endings:
        raise _BadField("The value for the field 'ArrayFormat' is not one of INDICES, REPEAT, COMMAS, BRACKETS")
    for n, text in enumerate(texts):
        yield name + endings[form].format(n=n), text


def _text(value: JSONValue) -> str:
    return value if isinstance(value, str) else dumps(value)


def _with_query(endpoint: str, query: list[tuple[str, str]]) -> str:
    if not query:
        return endpoint
    try:
        return str(URL(endpoint).extend_query(query))
    except ValueError:
        raise _BadField("The value for the field 'ApiEndpoint' is not a URL") from None
