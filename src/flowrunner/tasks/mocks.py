"""Mocked service integrations: AWS's ``MockConfigFile.json``.

``{"StateMachines": {MACHINE: {"TestCases": {CASE: {STATE: RESPONSE}}}}, "MockedResponses": {RESPONSE: {"0": {"Return": any},
"1-2": {"Throw": {"Error", "Cause"}}}}}``; the numbers are the attempts of a state's visit, the first is 0.
Source: https://docs.aws.amazon.com/step-functions/latest/dg/sfn-local-mock-cfg-file.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowrunner.errors import ConfigurationError, InvalidDocument
from flowrunner.ids import parse_arn
from flowrunner.jsonvalue import dumps, loads
from flowrunner.ports.tasks import Completed, Succeeded, TaskCall, TaskHandler, TaskOutcome
from flowrunner.tasks.answers import failed

_ATTEMPTS = re.compile(r"(?P<first>\d{1,6})(?:-(?P<last>\d{1,6}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Return:
    """The task succeeds; `output` is JSON text."""

    output: str


@dataclass(frozen=True, slots=True)
class Throw:
    """The task fails."""

    error: str
    cause: str | None


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers of one state: attempts first to last (inclusive) and what happens in them."""

    name: str
    by_attempt: tuple[tuple[int, int, Return | Throw], ...]

    def at(self, attempt: int) -> Return | Throw | None:
        """The answer to an attempt; None when none is written."""
        return next((answer for first, last, answer in self.by_attempt if first <= attempt <= last), None)


class Mocks:
    """The answers of every machine's test cases."""

    def __init__(self, cases: Mapping[tuple[str, str], Mapping[str, Answers]] | None = None) -> None:
        self._cases = cases or {}

    def has_case(self, machine: str, case: str) -> bool:
        """Whether the file has this test case for the machine of this name."""
        return (machine, case) in self._cases

    def find(self, call: TaskCall) -> Answers | None:
        """The answers of a call's state in its test case; None when it is not mocked."""
        if call.test_case is None:
            return None
        return self._cases.get((_machine(call), call.test_case), {}).get(call.state)


def _machine(call: TaskCall) -> str:
    arn = parse_arn(call.machine_arn.partition("#")[0])
    return arn.name if arn else call.machine_arn


class MockTask(TaskHandler):
    """Answers instead of the service. A callback or a job is completed at once."""

    def __init__(self, mocks: Mocks) -> None:
        self._mocks = mocks

    def idempotent(self, call: TaskCall) -> bool:
        """Always: nothing outside is touched."""
        del call
        return True

    async def run(self, call: TaskCall) -> TaskOutcome:
        """The answer to this attempt; a missing one ends the execution with States.Runtime, naming the attempt."""
        answers = self._mocks.find(call)
        answer = answers.at(call.retry) if answers else None
        if answers is None or answer is None:
            name = answers.name if answers else None
            text = f"The test case '{call.test_case}' has no mocked response for attempt {call.retry} of the state '{call.state}' (response '{name}')."
            return failed("States.Runtime", text)
        if isinstance(answer, Throw):
            return failed(answer.error, answer.cause)
        return Completed("{}", answer.output) if call.resource.is_submitted else Succeeded(answer.output)


def read_mocks(path: Path) -> Mocks:
    """The mocks of a file. Raises ConfigurationError naming the place."""
    try:
        return parse_mocks(loads(path.read_bytes()), path.name)
    except OSError as error:
        raise ConfigurationError(f"mock_config: {path} cannot be read: {error.strerror}.") from None
    except InvalidDocument as error:
        raise ConfigurationError(f"{path.name}: {error.message}") from None


def parse_mocks(document: Any, source: str = "MockConfigFile.json") -> Mocks:
    """The mocks of a parsed document; `source` names it in errors. Raises ConfigurationError naming the place."""
    top = _object(source, "", document)
    _only(source, "", top, {"StateMachines", "MockedResponses"})
    responses = {
        name: _answers(source, f"/MockedResponses/{name}", name, value)
        for name, value in _object(source, "/MockedResponses", top.get("MockedResponses", {})).items()
    }
    cases: dict[tuple[str, str], dict[str, Answers]] = {}
    for machine, value in _object(source, "/StateMachines", top.get("StateMachines", {})).items():
        place = f"/StateMachines/{machine}"
        _only(source, place, _object(source, place, value), {"TestCases"})
        for case, states in _object(source, f"{place}/TestCases", value.get("TestCases", {})).items():
            at = f"{place}/TestCases/{case}"
            chosen = cases[machine, case] = {}
            for state, response in _object(source, at, states).items():
                if not isinstance(response, str) or response not in responses:
                    raise _wrong(source, f"{at}/{state}", f"there is no response {response!r} in MockedResponses")
                chosen[state] = responses[response]
    return Mocks(cases)


def _answers(source: str, place: str, name: str, value: Any) -> Answers:
    found: list[tuple[int, int, Return | Throw]] = []
    for key, answer in _object(source, place, value).items():
        at = f"{place}/{key}"
        match = _ATTEMPTS.fullmatch(key)
        first, last = (int(match["first"]), int(match["last"] or match["first"])) if match else (0, -1)
        if last < first:
            raise _wrong(source, at, "attempts are written as '0' or '1-3'")
        if any(first <= end and start <= last for start, end, _ in found):
            raise _wrong(source, at, "an attempt has two answers")
        found.append((first, last, _answer(source, at, answer)))
    if not found:
        raise _wrong(source, place, "it has no answer")
    return Answers(name, tuple(sorted(found, key=lambda one: one[0])))


def _answer(source: str, place: str, value: Any) -> Return | Throw:
    answer = _object(source, place, value)
    if set(answer) == {"Return"}:
        return Return(dumps(answer["Return"]))
    if set(answer) != {"Throw"}:
        raise _wrong(source, place, "an answer is either Return or Throw")
    thrown = _object(source, f"{place}/Throw", answer["Throw"])
    _only(source, f"{place}/Throw", thrown, {"Error", "Cause"})
    error, cause = thrown.get("Error"), thrown.get("Cause")
    if not isinstance(error, str) or not isinstance(cause, str | None):
        raise _wrong(source, f"{place}/Throw", "Error and Cause are texts, and Error is required")
    return Throw(error, cause)


def _object(source: str, place: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(source, place, "an object is expected")
    return value


def _only(source: str, place: str, value: dict[str, Any], known: set[str]) -> None:
    unknown = sorted(set(value) - known)
    if unknown:
        raise _wrong(source, f"{place}/{unknown[0]}", f"unknown field; known: {', '.join(sorted(known))}")


def _wrong(source: str, place: str, problem: str) -> ConfigurationError:
    return ConfigurationError(f"{source}: at {place or '/'}: {problem}.")
