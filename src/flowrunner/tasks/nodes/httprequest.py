"""The kind ``http.request``."""

from __future__ import annotations

import base64
import codecs
import re

from flowrunner.clock import Clock
from flowrunner.errors import InvalidDocument
from flowrunner.jsonvalue import JSONObject, JSONValue, dumps, loads
from flowrunner.kinds.http import HTTP_REQUEST
from flowrunner.tasks.client import GuardedClient, Response
from flowrunner.tasks.nodes.assertions import MISSING, Checked, at, check, failure, same, summary
from flowrunner.tasks.nodes.kind import NodeCall, NodeFailed, NodeKind, NodeResult
from flowrunner.tasks.nodes.reading import bad, listing, text
from flowrunner.tasks.nodes.sending import request_of, send
from flowrunner.tasks.secrecy import hidden

HTTP_STATUS = "FlowRunner.HttpStatus"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})  # RFC 9110, 9.2.1: asking again changes nothing
_JSON = re.compile(r"application/(?:[\w.!#$&^+-]+\+)?json|[\w.!#$&^-]+/[\w.!#$&^-]+\+json", re.IGNORECASE)
_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([\w.:-]+)", re.IGNORECASE)
_SHOWN_CHARACTERS = 500  # of a body in a cause


class HttpRequest(NodeKind):
    """Sends a request through the guarded client."""

    info = HTTP_REQUEST

    def __init__(self, client: GuardedClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock

    def idempotent(self, call: NodeCall) -> bool:
        """Requests that only ask may be sent again."""
        method = call.params.get("method", "GET")
        return isinstance(method, str) and method.upper() in _SAFE

    async def run(self, call: NodeCall) -> NodeResult:
        """The answer, in the shape of the language that asks. Raises NodeFailed; TimeoutError."""
        request = request_of(call)
        began = self._clock.monotonic()
        answer = await send(self._client, request)
        took = round((self._clock.monotonic() - began) * 1000, 3)
        body, raw = read_body(answer)
        if call.language in ("workflow", "test"):
            return NodeResult(_step(call, answer, body, raw))
        succeeded = 200 <= answer.status <= 299
        output = {
            "status_code": answer.status,
            "headers": _headers(answer),
            "body": body,
            "raw_body": raw,
            "metadata": {"url": answer.url, "method": answer.method or request.method, "redirects": answer.redirects, "size": len(answer.body)},
            "success": succeeded,
            "timing_ms": took,
        }
        if not _is_text(answer):
            output["body_base64"] = base64.b64encode(answer.body).decode()
        return NodeResult(output, "success" if succeeded else "server_error" if answer.status >= 500 else "client_error" if answer.status >= 400 else "success")


def read_body(answer: Response) -> tuple[JSONValue, str]:
    """The body as a value (JSON by its media type, else text) and as text, decoded by its charset."""
    raw = answer.body.decode(_charset(answer), "replace")
    if answer.body and _JSON.fullmatch(answer.header("content-type").partition(";")[0].strip()):
        try:
            return loads(raw.removeprefix("\ufeff")), raw
        except InvalidDocument:
            return raw, raw
    return raw, raw


def _charset(answer: Response) -> str:
    named = _CHARSET.search(answer.header("content-type"))
    try:
        info = codecs.lookup(named[1]) if named else None
    except LookupError:
        info = None
    # Only codecs that make text of bytes: Python has others by such names, which unpack.
    return info.name if info is not None and info._is_text_encoding else "utf-8"  # noqa: SLF001 - there is no public way to ask


def _is_text(answer: Response) -> bool:
    try:
        answer.body.decode(_charset(answer))
    except UnicodeDecodeError:
        return False
    return True


def _headers(answer: Response) -> JSONObject:
    """Names as they are usually written, for the client gives them in lower case."""
    return {"-".join(part.capitalize() for part in name.split("-")): ", ".join(values) for name, values in answer.headers.items()}


def _step(call: NodeCall, answer: Response, body: JSONValue, raw: str) -> JSONObject:
    """A workflow step's output. Raises NodeFailed for a status that is not expected, and for assertions that do not hold."""
    assertions = listing(call.params, "assertions")
    expected = call.params.get("expectedStatus")
    judged = any(isinstance(one, dict) and one.get("type") == "status_code" for one in assertions) or _is_result(call, answer.status)
    if not (judged and expected is None) and not _is_expected(answer.status, expected):
        said = f": {hidden(raw)[:_SHOWN_CHARACTERS]}" if raw else ""
        raise NodeFailed(f"The server answered {answer.status} {answer.reason}{said}", error=HTTP_STATUS)
    response = {"statusCode": answer.status, "headers": _headers(answer), "body": body, "bodyRaw": raw}
    output = {**(body if isinstance(body, dict) else {}), "status": answer.status, "response": response}
    if assertions:
        found = summary(_checked(one, answer.status, body, output, f"assertions[{number}]") for number, one in enumerate(assertions))
        if not found["passed"]:
            raise failure(found)
        output["assertions"] = found["assertions"]
    return output


def _is_result(call: NodeCall, status: int) -> bool:
    """Whether a test case asserts the status afterwards: then it is a result, but as long as it is not the one it is asked for again."""
    asserted = call.raw.get("asserted")
    if not isinstance(asserted, dict):
        return False
    return call.retry >= asserted["retries"] or all(_is_expected(status, wanted) for wanted in asserted["statuses"])


def _is_expected(status: int, expected: JSONValue) -> bool:
    if expected is None:
        return 200 <= status <= 299
    return any(str(one) == str(status) for one in (expected if isinstance(expected, list) else [expected]))


def _checked(assertion: JSONValue, status: int, body: JSONValue, output: JSONObject, place: str) -> Checked:
    kind = assertion.get("type") if isinstance(assertion, dict) else None
    if kind == "status_code":
        wanted = assertion.get("in", assertion.get("expected", assertion.get("value")))
        passed = _is_expected(status, wanted)
        return Checked("status_code", status, wanted, passed, assertion.get("message") or f"the status is {status}; asserted: {dumps(wanted)}")
    if kind == "json_path":
        path = text(assertion, "path")
        found = at(body, path)
        there = found is not MISSING
        if "equals" in assertion or "expected" in assertion:
            wanted = assertion.get("equals", assertion.get("expected"))
            passed = there and same(found, wanted)
        elif isinstance(assertion.get("exists", True), bool):
            wanted = assertion.get("exists", True)
            passed = there is wanted
        else:
            raise bad(f"{place}: 'exists' must be true or false.")
        shown = found if there else None
        return Checked(
            "json_path", shown, wanted, passed, assertion.get("message") or f"{path} is {dumps(shown) if there else 'absent'}; asserted: {dumps(wanted)}", path
        )
    return check(assertion, output, place)
