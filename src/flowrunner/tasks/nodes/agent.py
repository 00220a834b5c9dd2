"""``agent``: a model is asked again and again, and given what the tools that it calls give."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from flowrunner.clock import Clock
from flowrunner.jsonvalue import JSONObject, JSONValue, dumps
from flowrunner.kinds import BUILT_IN
from flowrunner.ports.tasks import log
from flowrunner.tasks.nodes.kind import NodeCall, NodeFailed, NodeKind, NodeResult
from flowrunner.tasks.nodes.llm import Models, provider_of, question_of
from flowrunner.tasks.nodes.modelprompt import conversation, tool_of
from flowrunner.tasks.nodes.reading import Params, bad, given, listing, mapping, text, whole
from flowrunner.tasks.nodes.scripting import Scripting

STEPS = "FlowRunner.AgentSteps"
MOST_STEPS = 100
MOST_RESULT = 100_000  # characters of one tool's result that the model is given
Finder = Callable[[str], NodeKind | None]
_HTTP = "http_request"
_TIME: JSONObject = {
    "name": "current_time",
    "description": "The current time, in UTC or in a time zone.",
    "parameters": {"type": "object", "properties": {"timezone": {"type": "string", "description": "An IANA name such as Europe/Berlin."}}},
}
_REQUEST: JSONObject = {
    "name": _HTTP,
    "description": "Sends an HTTP request.",
    "parameters": {
        "type": "object",
        "properties": {"url": {"type": "string"}, "method": {"type": "string"}, "headers": {"type": "object"}, "body": {}},
        "required": ["url"],
    },
}


# Parameters that mean the same, or together say where and as whom: the model can set none of them when the author has set one.
_TOGETHER = (
    frozenset({"operation", "op", "queryType"}),
    frozenset({"query", "sql"}),
    frozenset({"args", "arguments"}),
    frozenset({"command", "cmd"}),
    frozenset({"url", "path"}),
    frozenset(
        {
            "secret", "connection", "driver", "type", "dsn", "path", "host", "port", "user", "username", "password", "database", "dbname", "region",
            "endpoint", "endpoint_url", "access_key", "access_key_id", "secret_key", "secret_access_key", "session_token",
            "smtp_host", "smtp_port", "imap_host", "imap_port", "security", "tls_ca", "sslmode", "ssl_mode", "sslrootcert", "ssl_ca",
            "provider", "api_key", "base_url", "options",
        }
    ),
)  # fmt: skip
Run = Callable[[JSONObject, str], Awaitable[JSONValue]]  # the model's arguments and the key of this use -> what the tool gives


@dataclass(frozen=True, slots=True)
class _Tool:
    shown: JSONObject
    run: Run


class AgentKind(NodeKind):
    """Asks until there is an answer. `find` gives the kinds that tools may be; `scripting` runs tools that are scripts."""

    info = BUILT_IN["agent"]

    def __init__(self, models: Models, *, clock: Clock, find: Finder, scripting: Scripting | None = None) -> None:
        self._models = models
        self._clock = clock
        self._find = find
        self._scripting = scripting

    async def run(self, call: NodeCall) -> NodeResult:
        """``{response, steps, thinking, intermediate_results, conversation}``; ``FlowRunner.AgentSteps`` when there is no answer in time."""
        params = await self._models.params(call)
        provider = provider_of(params)
        tools = self._tools(params, call)
        messages = conversation(params, call.input)
        question = question_of({**params, "tools": None, "functions": None}, messages)
        question = replace(question, tools=[one.shown for one in tools.values()])
        steps: list[JSONObject] = []
        results: list[JSONValue] = []
        most = whole(params, "max_steps", default=10, low=1, high=MOST_STEPS)
        for number in range(1, most + 1):
            answer = await self._models.ask(provider, replace(question, messages=messages))
            content, calls = answer["content"], answer["tool_calls"]
            step: JSONObject = {"step": number, "content": content, "finish_reason": answer["finish_reason"], "usage": answer["usage"], "tool_calls": []}
            steps.append(step)
            messages = [*messages, {"role": "assistant", "content": content, **({"tool_calls": calls} if calls else {})}]
            if not calls:
                return NodeResult(_output(content, steps, results, messages))
            for one in calls:
                done = await self._called(tools, one, f"{call.key}/{len(results) + 1}")
                step["tool_calls"].append(done)
                results.append(done)
                messages.append({"role": "tool", "tool_call_id": one["id"], "content": _told(done)})
        raise NodeFailed(f"The model still called tools after {most} questions (max_steps).", error=STEPS)

    async def _called(self, tools: dict[str, _Tool], call: JSONObject, key: str) -> JSONObject:
        """What a tool gave; its failure is the model's to deal with. Each use has a `key` of its own, or a second one would be taken for the first again."""
        done: JSONObject = {"id": call["id"], "name": call["name"], "arguments": call["arguments"]}
        tool = tools.get(call["name"])
        log("info", f"tool {call['name']}")
        if tool is None:
            return {**done, "error": f"There is no tool {call['name']!r}. There are: {', '.join(tools)}."}
        if not isinstance(call["arguments"], dict):
            return {**done, "error": "The arguments are no JSON object."}
        try:
            return {**done, "result": await tool.run(call["arguments"], key)}
        except NodeFailed as error:
            return {**done, "error": f"{error.error}: {error.cause}"}
        except TimeoutError:
            return {**done, "error": "It took too long."}

    def _tools(self, params: Params, call: NodeCall) -> dict[str, _Tool]:
        handlers = mapping(params, "tool_handlers")
        tools = {"current_time": _Tool(_TIME, self._time)}
        for one in listing(params, "tools"):
            tool = self._tool(one, handlers, call)
            tools[tool.shown["name"]] = tool
        allowed = given(params, "allowed_tools")
        if allowed is not None:
            names = listing(params, "allowed_tools")
            tools = {name: tool for name, tool in tools.items() if name in names}
        return tools

    def _tool(self, one: JSONValue, handlers: JSONObject, call: NodeCall) -> _Tool:
        if one == "current_time":
            return _Tool(_TIME, self._time)
        if one == _HTTP:
            return _Tool(_REQUEST, self._kind("http.request", {}, call))
        if isinstance(one, str):
            raise bad(f"There is no built-in tool {one!r}: there are current_time and {_HTTP}.")
        if isinstance(one, dict) and isinstance(one.get("kind"), str):
            info = BUILT_IN.get(one["kind"])
            fixed = mapping(one, "params")
            shown = {
                "name": one["kind"].replace(".", "_"),
                "description": info.description if info else "",
                "parameters": _open(info.parameters if info else {}, fixed),
            }
            return _Tool(
                tool_of(shown | {name: part for name, part in one.items() if name in ("name", "description", "parameters")}),
                self._kind(one["kind"], fixed, call),
            )
        shown = tool_of(one)
        handler = handlers.get(shown["name"], one.get("handler") if isinstance(one, dict) else None)
        if not isinstance(handler, dict):
            raise bad(f"The tool {shown['name']!r} has no handler: give tool_handlers.{shown['name']} a url, a script or a kind.")
        return _Tool(shown, self._handled(handler, call))

    def _handled(self, handler: JSONObject, call: NodeCall) -> Run:
        if isinstance(handler.get("kind"), str):
            return self._kind(handler["kind"], mapping(handler, "params"), call)
        if isinstance(handler.get("script"), str):
            return self._script(handler["script"], call)
        method = text(handler, "method", default="POST").upper()
        fixed = {"url": text(handler, "url"), "method": method, "headers": mapping(handler, "headers")}
        place = "query" if method in ("GET", "HEAD", "DELETE") else "body"
        send = self._kind("http.request", fixed, call)

        async def sent(arguments: JSONObject, key: str) -> JSONValue:
            return await send({place: arguments}, key)

        return sent

    def _kind(self, name: str, fixed: JSONObject, call: NodeCall) -> Run:
        """A node of another kind; what the author has fixed, the model cannot change."""
        kind = self._find(name)
        if kind is None or kind.info.structural or kind.info.name == self.info.name:
            raise bad(f"The kind {name!r} cannot be a tool here.")

        closed = _closed(fixed)

        async def run(arguments: JSONObject, key: str) -> JSONValue:
            own = {one: value for one, value in arguments.items() if one not in closed}
            return (await kind.run(replace(call, params={**own, **fixed}, key=key))).output

        return run

    def _script(self, source: str, call: NodeCall) -> Run:
        scripting = self._scripting
        if scripting is None:
            raise bad("This server runs no scripts, so a tool cannot be one.")

        async def run(arguments: JSONObject, key: str) -> JSONValue:
            del key  # a script acts on nothing outside
            return (await scripting.run(call, source, names={"arguments": arguments, "input": arguments})).value

        return run

    async def _time(self, arguments: JSONObject, key: str) -> JSONValue:
        del key
        zone = arguments.get("timezone")
        try:
            found = ZoneInfo(zone) if isinstance(zone, str) and zone else UTC
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise NodeFailed(f"There is no time zone {zone!r}.") from None
        return datetime.fromtimestamp(self._clock.now() / 1000, found).isoformat(timespec="seconds")


def _closed(fixed: JSONObject) -> frozenset[str]:
    """The parameters that are the author's: those that are fixed, and what belongs together with them."""
    return frozenset(fixed).union(*(group for group in _TOGETHER if not group.isdisjoint(fixed)))


def _open(schema: JSONObject, fixed: JSONObject) -> JSONObject:
    """A kind's parameters without those that are the author's."""
    closed = _closed(fixed)
    properties = {name: part for name, part in schema.get("properties", {}).items() if name not in closed}
    return {"type": "object", "properties": properties, "required": [name for name in schema.get("required", ()) if name not in closed]}


def _told(done: JSONObject) -> str:
    found = done["error"] if "error" in done else done["result"]
    return (found if isinstance(found, str) else dumps(found))[:MOST_RESULT]


def _output(response: str, steps: list[JSONObject], results: list[JSONValue], messages: list[JSONObject]) -> JSONObject:
    total = {name: sum(step["usage"][name] for step in steps) for name in ("prompt_tokens", "completion_tokens", "total_tokens")}
    thinking = [step["content"] for step in steps[:-1] if step["content"]]
    return {"response": response, "steps": steps, "thinking": thinking, "intermediate_results": results, "conversation": messages, "usage": total}
