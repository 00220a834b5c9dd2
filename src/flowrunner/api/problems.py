"""What goes wrong with a request of the REST API, as ``application/problem+json`` (RFC 9457)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import msgspec
import orjson

from flowrunner.api.answer import AWAY
from flowrunner.core.diagnostics import Diagnostic
from flowrunner.errors import FlowRunnerError, InvalidDefinition, InvalidDocument, InvalidSecret, Overloaded, StoreUnavailable, Unauthenticated

PROBLEM = "application/problem+json"
HIDDEN = "The server could not do this; its log says why under this trace_id."
_CODES = {
    400: "bad_request",
    401: "unauthenticated",
    403: "access_denied",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    408: "request_timeout",
    413: "too_large",
    415: "unsupported_media_type",
    429: "too_many_requests",
    431: "headers_too_large",
    503: "service_unavailable",
}
_REFUSALS = frozenset({401, 403, 413, 415, 429, 503})


class ProblemError(msgspec.Struct, kw_only=True):
    """One thing that is wrong with a request or a definition: what, where (a JSON pointer; line and column in the body, or in the text that it has there, from 1, 0 when unknown), and what would mend it (empty when unknown)."""

    pointer: str
    line: int
    column: int
    code: str
    severity: str
    detail: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What went wrong with a request. `errors` are as `ProblemError` says."""

    status: int
    code: str
    detail: str
    errors: tuple[Mapping[str, Any], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self, *, instance: str, trace_id: str) -> bytes:
        """The JSON document."""
        document: dict[str, Any] = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "instance": instance,
            "code": self.code,
            "trace_id": trace_id,
        }
        if self.errors:
            document["errors"] = list(self.errors)
        return orjson.dumps(document, default=str)


def refusal_of(status: int, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The code of an answer that refuses somebody who may ask well: not let in, too large, too much; None for any other answer."""
    if status in _REFUSALS:
        return _CODES[status]
    # AWS says with 400 that there were too many requests.
    return _CODES[429] if status == 400 and any(name == b"retry-after" for name, _ in headers) else None


class Refused(Exception):
    """A request is answered with this problem."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(problem.detail)


def of_status(status: int, detail: str, *, headers: Mapping[str, str] | None = None, errors: tuple[Mapping[str, Any], ...] = ()) -> Problem:
    """The problem of a plain HTTP status."""
    code = _CODES.get(status) or HTTPStatus(status).phrase.lower().replace(" ", "_")
    return Problem(status=status, code=code, detail=detail, headers=headers or {}, errors=errors)


def of_error(error: FlowRunnerError) -> Problem:
    """The problem of one of our own errors; what the server itself got wrong is for its log only."""
    errors: tuple[Mapping[str, Any], ...] = ()
    if isinstance(error, InvalidDocument) and (error.line or error.pointer):
        errors = (one_error(error.code, error.message, pointer=error.pointer, line=error.line or 0, column=error.column or 0, hint=error.remedy or ""),)
    if isinstance(error, InvalidSecret):
        errors = tuple(one_error(error.code, message, pointer=pointer, hint=error.remedy or "") for pointer, message in error.faults)
    if isinstance(error, InvalidDefinition):
        errors = tuple(as_error(part) for part in error.diagnostics if isinstance(part, Diagnostic))
    headers = {"retry-after": "1"} if error.status == HTTPStatus.SERVICE_UNAVAILABLE else {}
    if isinstance(error, Overloaded):
        headers = {"retry-after": str(math.ceil(error.retry_after))}
    if isinstance(error, Unauthenticated):
        headers = {"www-authenticate": "Bearer"}
    detail = AWAY if isinstance(error, StoreUnavailable) else str(error) if error.status < 500 else HIDDEN
    return Problem(status=error.status, code=error.code, detail=detail, errors=errors, headers=headers)


def as_error(found: Diagnostic) -> dict[str, Any]:
    """A finding as one of a problem's `errors`."""
    return one_error(found.code, found.message, pointer=found.pointer, line=found.line, column=found.column, severity=found.severity, hint=found.hint)


def one_error(code: str, detail: str, *, pointer: str = "", line: int = 0, column: int = 0, severity: str = "ERROR", hint: str = "") -> dict[str, Any]:
    """What `ProblemError` says, all of it."""
    return {"pointer": pointer, "line": line, "column": column, "code": code, "severity": severity, "detail": detail, "hint": hint}


UNEXPECTED = Problem(status=500, code="internal_error", detail=HIDDEN)
