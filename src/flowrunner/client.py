"""A small client of a FlowRunner server: AWS's protocol for what Step Functions has, REST for runs and their streams."""

from __future__ import annotations

import contextlib
import json
import os
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from types import TracebackType
from typing import Any, ClassVar, Self
from urllib.parse import quote

import httpx
import orjson

from flowrunner.clock import Clock, SystemClock
from flowrunner.errors import ConfigurationError, Fault, FlowRunnerError, InvalidDocument

RUNS = "/api/v2/workflows/runs"
CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 60.0  # streams say something every 15 seconds
UNAUTHENTICATED = 401
RECONNECTS = 5  # tries in a row to get back to a stream
RECONNECT_SECONDS = 1.0
AWS_PAGE = 1000  # the most GetExecutionHistory gives at once
REST_PAGE = 1000  # the most a list gives at once


class ServerUnreachable(FlowRunnerError):
    """The server does not answer."""

    code = "server_unreachable"
    fault = "operator"
    status = 503


class ServerRefused(FlowRunnerError):
    """The server answered with an error; `status` and `code` are the server's."""

    code: ClassVar[str] = "server_refused"
    fault: ClassVar[Fault] = "caller"

    def __init__(self, message: str, *, status: int, code: str) -> None:
        super().__init__(message, remedy="Log in: flowrunner login" if status == UNAUTHENTICATED else None)
        self.status = status  # type: ignore[misc]  # the answer's own takes the class's place
        self.code = code  # type: ignore[misc]  # as above


class Client:
    """Talks to one server; use as an async context manager. `transport` may be an application in this process.

    `token` is an API token or that of a log-in; without one the caller says who it is as a development server wants to hear it.
    """

    def __init__(
        self,
        server: str,
        *,
        region: str = "us-east-1",
        account: str = "000000000000",
        token: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.server = server.rstrip("/")
        self._clock = clock or SystemClock()
        development = f"AWS4-HMAC-SHA256 Credential={account}/20260101/{region}/states/aws4_request, SignedHeaders=host, Signature=none"
        credential = development if token is None else f"Bearer {token}"
        timeout = httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS)
        plain = self.server.startswith("http://")  # then no certificates are loaded, which would take longer than most commands; redirects are not followed
        headers = {"authorization": credential}
        self._http = httpx.AsyncClient(
            base_url=self.server,
            transport=transport,
            timeout=timeout,
            headers=headers,
            trust_env=False,
            follow_redirects=False,
            verify=False if plain else _trusted(),
        )

    async def __aenter__(self) -> Self:
        """Open nothing yet."""
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the connections."""
        await self._http.aclose()

    # --- AWS

    async def call(self, operation: str, **parameters: object) -> dict[str, Any]:
        """Call an operation of Step Functions. Raises ServerRefused with AWS's error code, ServerUnreachable."""
        headers = {"content-type": "application/x-amz-json-1.0", "x-amz-target": f"AWSStepFunctions.{operation}"}
        given = {name: value for name, value in parameters.items() if value is not None}
        answer = await self._send("POST", "/", content=_encoded(given), headers=headers)
        body = _json(answer)
        if answer.status_code == 200:
            return body
        code = str(body.get("__type") or body.get("code") or "UnknownError").rpartition("#")[2]
        raise ServerRefused(str(body.get("message") or body.get("Message") or body.get("detail") or code), status=answer.status_code, code=code)

    async def register(self, name: str, definition: str, *, role_arn: str) -> str:
        """Create the machine, or update it when there is one of this name; return its ARN."""
        try:
            made = await self.call("CreateStateMachine", name=name, definition=definition, roleArn=role_arn)
        except ServerRefused as error:
            if error.code != "StateMachineAlreadyExists":
                raise
            arn = await self._machine(name)
            await self.call("UpdateStateMachine", stateMachineArn=arn, definition=definition, roleArn=role_arn)
            return arn
        return str(made["stateMachineArn"])

    async def _machine(self, name: str) -> str:
        token: str | None = None
        while True:
            page = await self.call("ListStateMachines", maxResults=AWS_PAGE, nextToken=token)
            for machine in page["stateMachines"]:
                if machine["name"] == name:
                    return str(machine["stateMachineArn"])
            token = page.get("nextToken")
            if token is None:
                raise ServerRefused(f"There is no state machine {name!r}.", status=404, code="StateMachineDoesNotExist")

    async def history(self, execution_arn: str, *, reverse: bool = False) -> AsyncIterator[dict[str, Any]]:
        """Every event of an execution, page after page."""
        token: str | None = None
        while True:
            page = await self.call("GetExecutionHistory", executionArn=execution_arn, maxResults=AWS_PAGE, reverseOrder=reverse, nextToken=token)
            for event in page["events"]:
                yield event
            token = page.get("nextToken")
            if token is None:
                return

    # --- REST

    async def run(self, name: str) -> dict[str, Any]:
        """One run by id or execution ARN."""
        return await self._get(f"{RUNS}/{segment(name)}")

    async def runs(self, *, workflow: str | None = None, status: str | None = None, limit: int = 100) -> list[dict[str, Any]]:
        """The newest runs, at most `limit`."""
        found: list[dict[str, Any]] = []
        query: dict[str, Any] = {name: value for name, value in (("workflow", workflow), ("status", status)) if value is not None}
        while True:
            page = await self._get(RUNS, params={**query, "limit": min(limit - len(found), 1000)})
            found += page["items"]
            query["cursor"] = page["next_cursor"]
            if page["next_cursor"] is None or len(found) >= limit:
                return found

    async def follow(self, run: str, *, after: int = 0, history: bool = False) -> AsyncGenerator[dict[str, Any], None]:
        """Messages of a run after a sequence number, past then live; ends with the message ``end``.

        With `history` a flow's or workflow's has its history events too. A lost connection is taken up again where it broke off; raises ServerUnreachable when that fails too often.
        """
        failures = 0
        while True:
            try:
                async with contextlib.aclosing(self._events(run, after, history=history)) as events:
                    before: list[dict[str, Any]] = []  # what has no place in the log comes again with what does, should the connection be lost between them
                    async for message in events:
                        failures = 0
                        if "seq" not in message and message["type"] != "end":
                            before.append(message)
                            continue
                        after = message.get("seq", after)
                        for one in (*before, message):
                            yield one
                        before.clear()
                        if message["type"] == "end":
                            return
            except httpx.TransportError:
                pass
            failures += 1
            if failures > RECONNECTS:
                raise ServerUnreachable(f"The stream of run {run} broke off and {self.server} does not take it up again.")
            await self._clock.sleep(RECONNECT_SECONDS)

    async def _events(self, run: str, after: int, *, history: bool) -> AsyncGenerator[dict[str, Any], None]:
        url, headers = f"{RUNS}/{segment(run)}/stream", {"accept": "text/event-stream"}
        async with contextlib.AsyncExitStack() as stack:
            try:
                answer = await stack.enter_async_context(
                    self._http.stream("GET", url, params={"after": after, **({"history": 1} if history else {})}, headers=headers)
                )
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                if after == 0:
                    raise self._unreachable(str(error)) from None
                raise
            if answer.status_code != 200:
                await answer.aread()
                raise _refusal(answer)
            async for line in answer.aiter_lines():
                if line.startswith("data: "):
                    yield orjson.loads(line[6:])

    async def rest(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, params: Mapping[str, Any] | None = None, key: str | None = None
    ) -> dict[str, Any]:
        """Call a route of the REST API; an answer without a body is empty. Raises ServerRefused with the problem's code, ServerUnreachable.

        With a `key` (Idempotency-Key) the request may be sent again, and is carried out once.
        """
        content = {} if body is None else {"content": _encoded({name: value for name, value in body.items() if value is not None})}
        headers = ({} if body is None else {"content-type": "application/json"}) | ({} if key is None else {"idempotency-key": key})
        given = {name: value for name, value in (params or {}).items() if value is not None}
        answer = await self._send(method, path, params=given, headers=headers, **content)
        if not answer.is_success:
            raise _refusal(answer)
        return _json(answer) if answer.content else {}

    async def rest_pages(self, path: str, member: str) -> list[dict[str, Any]]:
        """Every row of a list of the REST API, page after page."""
        found: list[dict[str, Any]] = []
        following: str | None = None
        while True:
            page = await self.rest("GET", path, params={"limit": REST_PAGE, "after": following})
            found += page[member]
            following = page.get("next_after")
            if following is None:
                return found

    async def rest_items(self, path: str) -> list[dict[str, Any]]:
        """As `rest_pages`, of a list that goes on by cursors."""
        found: list[dict[str, Any]] = []
        following: str | None = None
        while True:
            page = await self.rest("GET", path, params={"limit": REST_PAGE, "cursor": following})
            found += page["items"]
            following = page["next_cursor"]
            if following is None:
                return found

    async def _get(self, path: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        return await self.rest("GET", path, params=params)

    async def _send(self, method: str, path: str, **parts: Any) -> httpx.Response:
        try:
            return await self._http.request(method, path, **parts)
        except httpx.TransportError as error:
            raise self._unreachable(str(error)) from None
        except httpx.InvalidURL as error:
            raise ServerRefused(f"{self.server}{path} cannot be asked for: {error}", status=400, code="invalid_url") from None

    def _unreachable(self, reason: str = "") -> ServerUnreachable:
        why = f" ({reason})" if reason else ""
        if "CERTIFICATE_VERIFY_FAILED" in reason:
            return ServerUnreachable(f"The certificate of {self.server} is not trusted{why}.", remedy="Name the certificates to trust: SSL_CERT_FILE=FILE")
        return ServerUnreachable(f"No FlowRunner server answers at {self.server}{why}.", remedy="Start one with: flowrunner serve --dev")


def _trusted() -> ssl.SSLContext:
    """The certificates that ``SSL_CERT_FILE`` or ``SSL_CERT_DIR`` names, as for other programs; else the public authorities'. Raises ConfigurationError."""
    try:
        return httpx.create_ssl_context()
    except OSError as error:  # also what is no certificate
        named = os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR")
        raise ConfigurationError(f"The certificates of {named} cannot be read: {error.strerror or error}.", remedy="SSL_CERT_FILE names a PEM file.") from None


def segment(name: str) -> str:
    """A name as one segment of a path. Raises ConfigurationError for an empty one, which would be the path of something else."""
    if not name:
        raise ConfigurationError("An empty text names nothing.", remedy="Is a variable of the shell not set?")
    return quote(name, safe="") if name.strip(".") else name.replace(".", "%2E")  # dots alone would be taken as steps of the path


def _encoded(given: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(given)
    except TypeError as error:  # a word of the command line that was no UTF-8
        raise InvalidDocument(f"What is to be sent is no text of JSON: {error}.") from None


def _json(answer: httpx.Response) -> dict[str, Any]:
    try:
        body = json.loads(answer.content)  # orjson would round integers beyond 64 bits
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise ServerRefused(f"The server's answer is not FlowRunner's (status {answer.status_code}).", status=502, code="not_flowrunner")
    return body


def _refusal(answer: httpx.Response) -> ServerRefused:
    body = _json(answer)
    return ServerRefused(str(body.get("detail", "The server refused.")), status=answer.status_code, code=str(body.get("code", "server_refused")))
