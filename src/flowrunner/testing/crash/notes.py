"""What may stand in the log of a flow or workflow, seen by its stream: an account of the notes that shares nothing with the engine's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Message = Mapping[str, Any]
STATUSES = frozenset({"success", "failed", "skipped", "cancelled"})
_LOOPS = {"loop_complete": "loop_start", "iteration_complete": "iteration_start"}


def faults(messages: Sequence[Message]) -> list[str]:
    """What is wrong with the stream of a run that has ended, in words. No flow here enters a step twice, but in iterations."""
    found = [f"a status told of {told} is not followed by the step_start of it" for told in _untrue(messages)]
    messages = [message for message in messages if not _is_status_of_a_node(message)]
    places = [message.get("seq") for message in messages]
    if places != list(range(1, len(places) + 1)):
        place = next(number for number, given in enumerate(places, 1) if given != number)
        found.append(f"the log is not numbered from 1 without a gap: record {place} has the number {places[place - 1]}")
    begun: set[tuple[Any, ...]] = set()
    ended: set[tuple[Any, ...]] = set()
    values: dict[str, Any] = {}
    for message in messages:
        kind, payload = message["type"], message["payload"]
        step = _step(message)
        match kind:
            case "step_start" | "loop_start" | "iteration_start":
                if (kind, *step) in begun:
                    found.append(f"{kind} of {step} comes twice")
                begun.add((kind, *step))
            case "step_complete":
                found += _completed(step, payload["status"], begun, ended)
                ended.add(step)
            case "loop_complete" | "iteration_complete":
                if (kind, *step) in begun or (_LOOPS[kind], *step) not in begun:
                    found.append(f"{kind} of {step} comes twice, or before its start")
                begun.add((kind, *step))
            case "variable_change":
                name = payload["varName"]
                if name in values and payload["oldValue"] != values[name]:
                    found.append(f"the variable {name} was {values[name]!r}, and is told to have been {payload['oldValue']!r}")
                values[name] = payload["newValue"]
    missing = {one[1:] for one in begun if one[0] == "step_start"} - ended
    found += [f"step {step} began and never ended" for step in missing]
    for start, end in (("loop_start", "loop_complete"), ("iteration_start", "iteration_complete")):
        found += [f"{start} of {one[1:]} has no {end}" for one in begun if one[0] == start and (end, *one[1:]) not in begun]
    return found


def _is_status_of_a_node(message: Message) -> bool:
    """Whether it is told of a step's beginning, and no record of its own."""
    return message["type"] == "status" and "node" in message["payload"] and "seq" not in message


def _untrue(messages: Sequence[Message]) -> list[Any]:
    """The nodes that are told of where they do not begin."""
    pairs = zip(messages, [*messages[1:], None], strict=False)
    told = [(status["payload"]["node"]["id"], then) for status, then in pairs if _is_status_of_a_node(status)]
    return [node for node, then in told if then is None or then["type"] != "step_start" or then["payload"]["stepId"] != node]


def _step(message: Message) -> tuple[Any, ...]:
    """What tells one entry of a step from another: its id, and in a loop the iteration."""
    told = {**message.get("detail", {}), **message["payload"]}
    return (told.get("stepId"), told.get("iteration"), told.get("index"))


def _completed(step: tuple[Any, ...], status: str, begun: set[tuple[Any, ...]], ended: set[tuple[Any, ...]]) -> list[str]:
    found = []
    if step in ended:
        found.append(f"step {step} ended twice")
    if ("step_start", *step) not in begun and status != "skipped":
        found.append(f"step {step} ended as {status}, and never began")
    if status not in STATUSES:
        found.append(f"step {step} ended as {status}, which is no end")
    return found
