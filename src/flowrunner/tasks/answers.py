"""The shapes of AWS's answers to Step Functions: metadata, function errors, service errors, date.

Recorded from AWS: a service integration's output carries the answer's headers twice (``AllHttpHeaders`` as lists,
``HttpHeaders`` as texts); errors of the older SDK end in ``(Service: AWSLambda; Status Code: 404; ...; Proxy: null)``,
those of ``aws-sdk:`` in ``(Service: Sfn, Status Code: 400, Request ID: ...) (SDK Attempt Count: 1)``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from email.utils import formatdate
from typing import Literal

from flowrunner.jsonvalue import JSONObject, JSONValue, dumps
from flowrunner.limits import MAX_CAUSE_CHARACTERS, MAX_ERROR_CHARACTERS
from flowrunner.ports.tasks import Failed
from flowrunner.tasks.secrecy import hidden

UUIDs = Callable[[], str]  # gives a new random UUID (version 4) as text


def failed(error: str, cause: str | None, phase: Literal["schedule", "start", "submit", "run"] = "run") -> Failed:
    """A failure whose texts are cut to what AWS allows; secrets are hidden before, since half of one would not be found."""
    return Failed(hidden(error)[:MAX_ERROR_CHARACTERS], None if cause is None else hidden(cause)[:MAX_CAUSE_CHARACTERS], phase)


def metadata(headers: Mapping[str, str], request_id: str, status: int = 200) -> JSONObject:
    """``SdkHttpMetadata`` and ``SdkResponseMetadata`` of an answer with these headers."""
    return {
        "SdkHttpMetadata": {
            "AllHttpHeaders": {name: [value] for name, value in headers.items()},
            "HttpHeaders": dict(headers),
            "HttpStatusCode": status,
        },
        "SdkResponseMetadata": {"RequestId": request_id},
    }


def http_date(now: int) -> str:
    """`now` (milliseconds since 1970 UTC) as HTTP writes dates."""
    return formatdate(now / 1000, usegmt=True)


def service_cause(message: str, service: str, status: int, code: str, request_id: str) -> str:
    """The cause of an optimised integration's failure."""
    return f"{message} (Service: {service}; Status Code: {status}; Error Code: {code}; Request ID: {request_id}; Proxy: null)"


def sdk_cause(message: str, service: str, status: int, request_id: str) -> str:
    """The cause of an ``aws-sdk:`` integration's failure."""
    return f"{message} (Service: {service}, Status Code: {status}, Request ID: {request_id}) (SDK Attempt Count: 1)"


def function_failure(payload: JSONValue, *, spaced: bool) -> Failed:
    """How Step Functions shows a function's error payload ``{errorMessage, errorType, requestId, stackTrace}``.

    `spaced` is the text of function ARNs (as the function's runtime wrote it), else ``lambda:invoke``'s compact one.
    A payload without an error type is AWS's ``Lambda.Unknown``.
    """
    kind = payload.get("errorType") if isinstance(payload, dict) else None
    if not isinstance(kind, str) or not kind:
        text = f"The cause could not be determined because Lambda did not return an error type. Returned payload: {dumps(payload)}"
        return failed("Lambda.Unknown", text)
    return failed(kind, json.dumps(payload, ensure_ascii=False) if spaced else dumps(payload))


def bad_parameters(parameters: str, problem: str) -> Failed:
    """The failure of a call whose parameters the service cannot take; AWS never retries it."""
    return failed("States.Runtime", f"The Parameters '{parameters}' could not be used to start the Task: [{problem}]", "start")


def missing_field(parameters: str, field: str) -> Failed:
    """`bad_parameters` for a required field."""
    return bad_parameters(parameters, f"The field '{field}' is required but was missing")
