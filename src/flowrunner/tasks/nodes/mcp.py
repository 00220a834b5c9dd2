"""``mcp``: servers of the Model Context Protocol, by the protocol's own library (the extra ``mcp``), which is imported when it is first needed."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp.abc import AbstractResolver

from flowrunner.errors import FlowRunnerError
from flowrunner.jsonvalue import JSONObject, JSONValue, dumps
from flowrunner.kinds import BUILT_IN
from flowrunner.ports.tasks import AttemptLost, begin
from flowrunner.tasks.egress import EgressPolicy, EgressRefused
from flowrunner.tasks.nodes.children import MARK, SEARCHED, end_marked
from flowrunner.tasks.nodes.command import Programs
from flowrunner.tasks.nodes.kind import NodeCall, NodeFailed, NodeKind, NodeResult
from flowrunner.tasks.nodes.reach import EGRESS_REFUSED
from flowrunner.tasks.nodes.reading import Params, bad, choice, listing, mapping, seconds, text
from flowrunner.tasks.secrecy import hidden

FAILED, TOOL_FAILED, MISSING = "FlowRunner.McpFailed", "FlowRunner.McpToolFailed", "FlowRunner.MissingExtra"
SECONDS = 60.0
MOST_PAGES = 50
_CONNECTIONS = {"cmd": "cmd", "stdio": "cmd", "http": "http", "sse": "sse"}
_OPERATIONS = {name: name for name in ("listTools", "executeTool", "listResources", "readResource", "listPrompts", "getPrompt")}
# The library logs what servers answer, which may repeat a secret. What matters of it is in the failure.
for _name in ("mcp", "client"):  # the latter is what its sessions call themselves
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)
# By these the loader, a shell or an interpreter runs what the operator has not allowed.
_STEERING = re.compile(
    r"(?:LD|DYLD|BASH|GLIBC|MALLOC|NODE|JAVA|JDK|_JAVA)_.*|(?:PYTHON|PERL|RUBY).*|PATH|IFS|ENV|PS4|BASHOPTS|SHELLOPTS|GCONV_PATH|LOCPATH|NLSPATH",
    re.ASCII | re.IGNORECASE | re.DOTALL,
)
_REFUSED_HEADERS = frozenset({"host", "content-length", "transfer-encoding", "connection"})


class McpKind(NodeKind):
    """One operation on a server, which is connected to for this attempt. `programs` may be started, where `policy` allows it is connected to."""

    info = BUILT_IN["mcp"]

    def __init__(self, *, policy: EgressPolicy, programs: Programs, names: AbstractResolver | None = None) -> None:
        self._policy = policy
        self._programs = programs
        self._names = names

    def idempotent(self, call: NodeCall) -> bool:
        """Whatever only reads."""
        return bool(call.params.get("operation", "listTools") != "executeTool")

    async def run(self, call: NodeCall) -> NodeResult:
        """The server's answer as the protocol writes it."""
        params = call.params
        ask = _operation(params)
        longest = seconds(params, "timeout", default=SECONDS, unit="ms")
        try:
            async with asyncio.timeout(longest), self._client(params) as client:
                return NodeResult(await ask(client))
        except TimeoutError:
            raise
        except Exception as error:  # noqa: BLE001 - what the library raises has no common root, and comes in groups
            raise _failure(error) from None

    @asynccontextmanager
    async def _client(self, params: Params) -> AsyncIterator[Any]:
        try:
            from mcp.client import Client  # noqa: PLC0415 - an extra
            from mcp.client.sse import sse_client  # noqa: PLC0415
            from mcp.client.stdio import StdioServerParameters, stdio_client  # noqa: PLC0415
            from mcp.client.streamable_http import streamable_http_client  # noqa: PLC0415

            from flowrunner.tasks.nodes.mcphttp import guarded_client  # noqa: PLC0415
        except ImportError:
            raise NodeFailed("MCP needs the extra 'mcp': pip install 'flowrunner[mcp]'.", error=MISSING) from None
        connection = choice(params, "connectionType", "connection_type", among=_CONNECTIONS)
        async with AsyncExitStack() as stack:
            if connection == "cmd":
                program, arguments, environment = self._program(params)
                home = stack.enter_context(tempfile.TemporaryDirectory(prefix="flowrunner-mcp-"))
                silent = stack.enter_context(Path("/dev/null").open("w"))  # noqa: ASYNC230, SIM115 - it opens at once, and the stack closes it
                mark = secrets.token_hex(16)
                stack.push_async_callback(end_marked, mark)  # the library ends the program itself, not what a program that has ended left behind
                own = _own_environment(home) | environment | {MARK: mark}
                server = StdioServerParameters(command=program, args=arguments, env=own, cwd=home)
                await begin()
                transport: Any = stdio_client(server, errlog=silent)
            else:
                url = text(params, "url")
                client = guarded_client(self._policy, self._names, _headers(params))
                await begin()
                if connection == "sse":
                    transport = sse_client(url, httpx_client_factory=lambda headers=None, timeout=None, auth=None: client)  # noqa: ARG005 - the library's arguments
                else:
                    await stack.enter_async_context(client)
                    transport = streamable_http_client(url, http_client=client)
            yield await stack.enter_async_context(Client(transport, cache=None))

    def _program(self, params: Params) -> tuple[str, list[str], dict[str, str]]:
        program = self._programs.find(text(params, "command", "cmd"))
        arguments = listing(params, "args")
        environment = mapping(params, "env")
        if not all(isinstance(one, str) and "\0" not in one for one in (*arguments, *environment.values())) or any(
            "=" in name or "\0" in name for name in environment
        ):
            raise bad("The parameters 'args' and 'env' hold texts only.")
        if (steering := next(filter(_STEERING.fullmatch, environment), None)) is not None:
            raise bad(f"The parameter 'env' cannot set {steering[:80]!r}: with it, the program could be made to run another one.")
        return program, arguments, environment


def _own_environment(home: str) -> dict[str, str]:
    """In place of what the library hands on of the server's own."""
    return {"HOME": home, "PATH": SEARCHED, "LOGNAME": "flowrunner", "USER": "flowrunner", "SHELL": "/bin/sh", "TERM": "dumb"}


def _headers(params: Params) -> dict[str, str]:
    found = {}
    for name, value in mapping(params, "headers").items():
        if not isinstance(value, str) or not name.isascii() or any(sign in name + value for sign in "\r\n\0") or name.lower() in _REFUSED_HEADERS:
            raise bad(f"The parameter 'headers' cannot set {name[:80]!r} to that.")
        found[name] = value
    return found


def _operation(params: Params) -> Callable[[Any], Awaitable[JSONObject]]:
    """What to ask, with all its parameters read before anything is connected to."""
    operation = choice(params, "operation", among=_OPERATIONS, default="listTools")
    if operation == "executeTool":
        tool, arguments = text(params, "toolName"), mapping(params, "toolParameters")
        return lambda client: _tool(client, tool, arguments)
    if operation == "readResource":
        uri = text(params, "resourceUri")
        return lambda client: _dumped(client.read_resource(uri))
    if operation == "getPrompt":
        prompt = text(params, "promptName")
        given = {name: value if isinstance(value, str) else dumps(value) for name, value in mapping(params, "promptParameters").items()}
        return lambda client: _dumped(client.get_prompt(prompt, given))
    kind = {"listTools": "tools", "listResources": "resources", "listPrompts": "prompts"}[operation]
    return lambda client: _listed(client, kind)


async def _tool(client: Any, name: str, arguments: JSONObject) -> JSONObject:
    answer = await _dumped(client.call_tool(name, arguments))
    if answer.get("isError"):
        said = " ".join(str(one["text"]) for one in answer.get("content", ()) if one.get("type") == "text")
        raise NodeFailed(hidden(f"The tool {name!r} failed: {said}")[:4000], error=TOOL_FAILED)
    return answer


async def _listed(client: Any, kind: str) -> JSONObject:
    """All pages of a list."""
    found: list[JSONValue] = []
    cursor: str | None = None
    for _ in range(MOST_PAGES):
        page = await _dumped(getattr(client, f"list_{kind}")(cursor=cursor))
        found += page.get(kind, [])
        cursor = page.get("nextCursor")
        if not cursor:
            break
    return {kind: found, "count": len(found)}


async def _dumped(asked: Awaitable[Any]) -> JSONObject:
    found: JSONObject = (await asked).model_dump(mode="json", by_alias=True, exclude_none=True)
    return {name: part for name, part in found.items() if name not in ("_meta", "resultType", "ttlMs", "cacheScope")}


def _failure(error: BaseException) -> BaseException:
    """What is behind an error, which the library's task groups may have wrapped again and again."""
    causes = [*_causes(error)]
    for one in causes:
        if isinstance(one, NodeFailed | AttemptLost | TimeoutError):
            return one
        if isinstance(one, EgressRefused):
            return NodeFailed(str(one), error=EGRESS_REFUSED)
    last = causes[-1]
    said = last.message if isinstance(last, FlowRunnerError) else str(last) or type(last).__name__
    return NodeFailed(hidden(f"The MCP server did not do it: {said}")[:2000], error=FAILED)


def _causes(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    waiting = [error]
    while waiting and len(found) < 50:
        one = waiting.pop()
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions
        else:
            found.append(one)
        waiting += [cause for cause in (one.__cause__,) if cause is not None]
    return found or [error]
