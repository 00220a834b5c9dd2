"""Scripts and ``${ expressions }`` of flows and workflows: what they see, what comes back, and their typed failures."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import orjson

from flowrunner.errors import ExpressionSyntaxError, FlowRunnerError, InvalidDocument, InvalidSecret, NotFound
from flowrunner.jsonvalue import MAX_DEPTH, JSONValue, depth, dumps, loads
from flowrunner.lang.embedded import Embedded, expressions_of, has_expression, parts_of, without_end
from flowrunner.tasks.javascript.calls import (
    CUT,
    SCRIPT_BUSY,
    SCRIPT_ERROR,
    SCRIPT_MEMORY,
    SCRIPT_OUTPUT,
    SCRIPT_TIMEOUT,
    ScriptCall,
    ScriptFailed,
    ScriptLimits,
    ScriptOutcome,
    ScriptScope,
)
from flowrunner.tasks.javascript.check import waits
from flowrunner.tasks.javascript.places import in_script, syntax_problem
from flowrunner.tasks.javascript.pool import DEFAULT_SIZE, ScriptLost, ScriptPool
from flowrunner.tasks.javascript.turns import MOST_WAITING, TooManyWaiting
from flowrunner.tasks.javascript.worker import CALL
from flowrunner.tasks.secrecy import SECRET_NOT_FOUND, SECRET_UNAVAILABLE

USUAL = ("input", "shared", "results", "variables", "execution")
ALWAYS = ("secrets", "console")
_NAME = re.compile(r"[A-Za-z_$][\w$]*", re.ASCII)
# What may reach the host: the object by its name, or a name put together while the script runs.
_REACHES_HOST = re.compile(r"secrets|console|eval|arguments|\\u")
# The engine itself throws null when no memory is left for an error.
_THROWS_NULL = re.compile(r"(?:throw|reject)\W+null")
_Part = dict[str, Any]


class Scripts:
    """Runs scripts in a pool of `size` worker processes; each call has a new context. Of one account `most_waiting` may wait for a place."""

    def __init__(self, size: int = DEFAULT_SIZE, most_waiting: int = MOST_WAITING) -> None:
        self._pool = ScriptPool(size, most_waiting)

    async def start(self, stack: AsyncExitStack) -> None:
        """Nothing runs yet; processes are started when they are needed, and killed at the end of `stack`."""
        await self._pool.start(stack)

    def places(self) -> int:
        """How many scripts run at once; the others wait."""
        return self._pool.size

    async def run(self, call: ScriptCall) -> ScriptOutcome:
        """What the script returned. Raises ScriptFailed; ConfigurationError when no process can be started.

        Cancelled, the script has really stopped before CancelledError is raised again.
        """
        sources = [("prep", call.prep), ("main", call.source), ("post", call.post)]
        parts = [_part(role, source) for role, source in sources if source is not None]
        if len(parts) == 1:
            reply = await self._ask(call.scope, parts, [""])
        else:
            scope = replace(call.scope, names={"output": None, **call.scope.names})
            reply = await self._ask(scope, parts, [f"hook {part['role']}" if part["role"] != "main" else "" for part in parts])
        return ScriptOutcome(reply["value"], reply["defined"], reply["post"], reply.get("shared"))

    async def fill(self, value: JSONValue, scope: ScriptScope, *, skip: Collection[str] = ()) -> JSONValue:
        """`value` with a value in place of each ``${ expression }``, in the names of members too; all in one call, one after the other.

        An expression that is all of a text keeps its type. Members of `value` itself named in `skip` stay as they are (scripts,
        which have their own ``${``). Raises as `run`; the place is a JSON pointer.
        """
        given = {key: child for key, child in value.items() if key not in skip} if skip and isinstance(value, dict) else value
        texts = list(expressions_of(given))
        if not texts:
            return value
        parts: list[_Part] = []
        places: list[str] = []
        for place, text in texts:
            try:
                found = parts_of(text)
            except ExpressionSyntaxError as error:
                raise ScriptFailed(SCRIPT_ERROR, str(error), place=_pointer(place)) from None
            role = "value" if len(found) == 1 else "text"
            expressions = [one for one in found if isinstance(one, Embedded)]
            parts += [_part(role, one.source) for one in expressions]
            places += [_pointer(place)] * len(expressions)
        values = iter((await self._ask(scope, parts, places))["values"] if parts else ())
        result = _replaced(given, iter([_assembled(parts_of(text), values) for _, text in texts]))
        return result | {key: child for key, child in value.items() if key in skip} if isinstance(value, dict) else result

    async def _ask(self, scope: ScriptScope, parts: list[_Part], places: list[str]) -> Any:
        limits = scope.limits
        code = [part["source"] for part in parts]
        host = any(_REACHES_HOST.search(source) for source in code)
        names = {**dict.fromkeys(USUAL), **scope.names}
        for name in scope.names:
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} cannot be the name of a variable of a script.")
        content = dumps({
            "parts": parts,
            "names": names,
            "given": [*names, *ALWAYS],
            "parameters": ",".join([*names, *ALWAYS]),
            "watch": any("shared" in source for source in code),
            "most": limits.log_lines,
            "width": limits.log_line_bytes,
            "most_output": limits.output_bytes,
        }).encode()  # fmt: skip
        frame = CALL.pack(len(content), limits.milliseconds, limits.memory_bytes, not host) + content
        questions = _Questions(scope)
        try:
            letter, reply = await self._pool.call(
                frame, account=scope.account, seconds=limits.milliseconds / 1000, most=6 * limits.output_bytes, answer=questions.answer
            )
        except TooManyWaiting:
            raise ScriptFailed(SCRIPT_BUSY, "As many scripts of the account wait for a process as may: try again later, or run fewer at once.") from None
        except ScriptLost as lost:
            raise _lost(lost, limits) from None
        if letter == b"x":
            raise _given_up(reply.decode("utf-8", "replace"), limits, parts, places)
        answer = _read(reply, limits)
        if "failed" in answer:
            raise _failure(answer["failed"], limits, questions, parts, places)
        return answer


def _part(role: str, source: str) -> _Part:
    return {"role": role, "source": source, "expression": without_end(source), "waits": waits(source)}


class _Questions:
    """Answers what a script asks of the server while it runs."""

    def __init__(self, scope: ScriptScope) -> None:
        self._scope = scope
        self._read: dict[str, None] = {}
        self.refused: dict[str, ScriptFailed] = {}

    async def answer(self, letter: bytes, content: bytes) -> bytes | None:
        """The answer to a frame of the worker; None when it wants none."""
        asked = loads(content or b"null")
        match letter:
            case b"l":
                level, message = asked
                self._scope.log(level, _cut(message, self._scope.limits.log_line_bytes))
                return None
            case b"n":
                names = self._scope.secret_names
                return orjson.dumps(sorted(await names() if names is not None else self._read))
            case _:
                return await self._secret(str(asked))

    async def _secret(self, name: str) -> bytes:
        try:
            value = await self._scope.secret(name)
        except ScriptFailed as failure:
            return self._refuse(name, failure.error, failure.message)
        except (NotFound, InvalidSecret) as error:
            return self._refuse(name, SECRET_NOT_FOUND, f"There is no secret {name!r}." if isinstance(error, NotFound) else error.message)
        except FlowRunnerError as error:
            return self._refuse(name, SECRET_UNAVAILABLE, f"The secret {name!r} cannot be had now: {error}")
        self._read[name] = None
        return dumps({"value": value}).encode()

    def _refuse(self, name: str, error: str, message: str) -> bytes:
        self.refused[name] = ScriptFailed(error, message)
        return orjson.dumps({"refused": {"name": name, "message": message}})


def _assembled(parts: tuple[str | Embedded, ...], values: Iterator[JSONValue]) -> JSONValue:
    if len(parts) == 1:
        return parts[0] if isinstance(parts[0], str) else next(values)
    return "".join(part if isinstance(part, str) else next(values) for part in parts)


def _replaced(value: JSONValue, filled: Iterator[JSONValue]) -> JSONValue:
    """`value` with the next of `filled` for each text that holds expressions, in the order of `expressions_of`."""
    if isinstance(value, str):
        return next(filled) if has_expression(value) else value
    if isinstance(value, dict):
        names = [_name(next(filled)) if has_expression(key) else key for key in value]
        return {name: _replaced(child, filled) for name, child in zip(names, value.values(), strict=True)}
    return [_replaced(child, filled) for child in value] if isinstance(value, list) else value


def _name(value: JSONValue) -> str:
    return value if isinstance(value, str) else dumps(value)


def _pointer(place: tuple[str | int, ...]) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in place)


def _cut(text: str, most: int) -> str:
    data = text.encode("utf-8", "replace")
    return text if len(data) <= most else data[: most - 3].decode("utf-8", "ignore") + CUT


def _read(reply: bytes, limits: ScriptLimits) -> Any:
    if len(reply) > limits.output_bytes + 512 and not reply.startswith(b'{"failed"'):
        raise _too_large(limits)
    try:
        answer = loads(reply)
    except InvalidDocument as error:
        raise ScriptFailed(SCRIPT_OUTPUT, f"What the script returned is no JSON that can be read: {_why(error)}.") from None
    if depth(answer, MAX_DEPTH + 2) > MAX_DEPTH:
        raise ScriptFailed(SCRIPT_OUTPUT, f"What the script returned is nested more than {MAX_DEPTH} levels deep.")
    return answer


def _why(error: InvalidDocument) -> str:
    said = error.message.rpartition(": ")[2]
    if "surrogate" in said:
        return "a text in it has half of a character (a surrogate without its other half)"
    return "it is nested too deep" if "depth" in said or "recursion" in said else said


def _too_large(limits: ScriptLimits, place: str = "") -> ScriptFailed:
    return ScriptFailed(SCRIPT_OUTPUT, f"What the script returned has more than {limits.output_bytes} bytes. Return less, or keep it in a store.", place=place)


def _timeout(limits: ScriptLimits, line: int = 0, column: int = 0, place: str = "") -> ScriptFailed:
    return ScriptFailed(SCRIPT_TIMEOUT, f"The script did not end within {limits.milliseconds / 1000:g} s.", line=line, column=column, place=place)


def _memory(limits: ScriptLimits, line: int = 0, column: int = 0, place: str = "") -> ScriptFailed:
    return ScriptFailed(SCRIPT_MEMORY, f"The script needs more than {limits.memory_bytes} bytes of memory.", line=line, column=column, place=place)


def _lost(lost: ScriptLost, limits: ScriptLimits) -> ScriptFailed:
    if lost.timed_out:
        return _timeout(limits)
    return ScriptFailed(SCRIPT_ERROR, f"The process of the script ended: {lost}.")


def _given_up(words: str, limits: ScriptLimits, parts: list[_Part], places: list[str]) -> ScriptFailed:
    line, column = in_script(words)
    place = places[0] if len(parts) == 1 else ""
    if words == "pending":
        return ScriptFailed(SCRIPT_ERROR, "The script waits for a promise that nothing fulfils: there are no timers and no I/O in a script.")
    if words.startswith("InternalError: interrupted"):
        return _timeout(limits, line, column, place)
    if words.startswith(("InternalError: out of memory", "null")):
        return _memory(limits, line, column, place)
    return ScriptFailed(SCRIPT_ERROR, words.partition("\n")[0], line=line, column=column, place=place)


def _failure(failed: Any, limits: ScriptLimits, questions: _Questions, parts: list[_Part], places: list[str]) -> ScriptFailed:
    """The typed failure for what the script's side reports; what it says is text from a script, not trusted to be well formed."""
    if failed.get("output"):
        return _too_large(limits)
    index = failed.get("part", 0)
    place, source = (places[index], parts[index]["source"]) if 0 <= index < len(parts) else ("", "")
    if failed.get("syntax"):
        messages, stacks = failed.get("messages") or [], failed.get("stacks") or []
        problem = syntax_problem(source, messages, stacks)
        return ScriptFailed(SCRIPT_ERROR, f"SyntaxError: {problem.message}", line=problem.line, column=problem.column, place=place)
    line, column = in_script(failed["stack"])
    known = questions.refused.get((failed.get("refused") or {}).get("name", ""))
    if known is not None:
        return ScriptFailed(known.error, known.message, line=line, column=column, place=place)
    name, message = failed["name"], failed["message"]
    starved = bool(failed.get("empty")) and not _THROWS_NULL.search(source)
    if starved or (name == "InternalError" and message == "out of memory"):
        return _memory(limits, line, column, place)
    text = message if name in ("Error", "") else f"{name}: {message}"
    return ScriptFailed(SCRIPT_ERROR, text or "The script threw an error without a message.", line=line, column=column, place=place)
