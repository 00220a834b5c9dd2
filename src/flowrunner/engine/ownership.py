"""Who has what of an execution in hand: several nodes may run attempts of one execution, any node may step it.

The fence decides who writes; ownership only tells who must be alive for the execution to go on by itself. It stands in the
head: `owner` names the nodes, and where they are several, ``placed`` in `extra` tells whose the open attempts are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from flowrunner.core import facts
from flowrunner.core.facts import Fact
from flowrunner.core.machine import Machine, OpenAttempt
from flowrunner.engine.dispatch import Dispatcher
from flowrunner.engine.live import Live, Message, extra_of
from flowrunner.jsonvalue import JSONValue, dumps, loads
from flowrunner.ports.executions import VERDICT, Head
from flowrunner.ports.tasks import TaskCall, TaskHandler

PLACED = "placed"


def owners_of(head: Head) -> frozenset[str]:
    """The nodes that have work of it in hand."""
    return frozenset(head.owner.split(",")) if head.owner is not None else frozenset()


def running_attempts(machine: Machine) -> set[int]:
    """The open attempts that some node runs or will run; those that wait outside (activities, callbacks, jobs) are nobody's."""
    return {attempt.command.attempt for attempt in machine.open_attempts() if is_run_here(attempt)}


NOBODY = ""  # in place of a node: whoever had these attempts in hand, nobody has now


def is_run_here(attempt: OpenAttempt) -> bool:
    """Whether a node has this attempt in hand."""
    return attempt.command.resource.family != "activity" and attempt.status != "submitted"


def placed(head: Head, machine: Machine) -> dict[str, set[int]]:
    """Each owner's open attempts, as the head tells."""
    running = running_attempts(machine)
    nodes = owners_of(head)
    if len(nodes) == 1:
        return {next(iter(nodes)): running}
    told: dict[str, list[int]] = extra_of(head).get(PLACED, {}) if nodes else {}
    return {node: running & set(told.get(node, ())) for node in nodes}


def owner_and_extra(live: Live, node: str, *, more: bool) -> tuple[str | None, str | None]:
    """What the next head must say. Whoever steps an execution that others own too also answers for its timers."""
    others = {}
    if live.others:
        running = running_attempts(live.machine)
        others = {other: attempts & running for other, attempts in live.others.items() if attempts & running}
    if not others:
        return (node if live.local or more else None), unplaced(live.head)
    if not (live.local or more) and live.machine.wake_at is None:
        if len(others) == 1:
            return next(iter(others)), unplaced(live.head)
        return ",".join(sorted(others)), _extra(live.head, others)
    return ",".join(sorted({node, *others})), _extra(live.head, {**others, node: live.local})


def unplaced(head: Head) -> str | None:
    """The `extra` of an execution that nobody has in hand."""
    return _extra(head, None)


def extra_at_end(head: Head, verdict: JSONValue) -> str | None:
    """The `extra` of an execution that has ended, with its verdict where it has one."""
    left = unplaced(head)
    return left if verdict is None else dumps({**({} if left is None else loads(left)), VERDICT: verdict})


def _extra(head: Head, attempts: dict[str, set[int]] | None) -> str | None:
    if head.extra is None and attempts is None:
        return None
    extra: dict[str, Any] = extra_of(head)
    if PLACED not in extra and attempts is None:
        return head.extra
    extra.pop(PLACED, None)
    if attempts is not None:
        extra[PLACED] = {node: sorted(numbers) for node, numbers in sorted(attempts.items())}
    return dumps(extra) if extra else None


def inherited(live: Live, attempts: Collection[int], dispatcher: Dispatcher, queued: list[int], *, in_doubt: bool) -> list[Message]:
    """The messages that make attempts go on here whose node is gone; those that must wait for a place are added to `queued`.

    What had not begun begins as soon as there is a place. What had begun is in doubt (reliability G3): it is repeated if it
    may be, else it is lost; with `in_doubt` false it is known that it never really began.
    """
    messages: list[Message] = []
    for attempt in live.machine.open_attempts():
        if attempt.command.attempt in attempts and is_run_here(attempt):
            messages.extend(_resumed(live, attempt, dispatcher, queued, in_doubt=in_doubt))
    return messages


def _resumed(live: Live, attempt: OpenAttempt, dispatcher: Dispatcher, queued: list[int], *, in_doubt: bool) -> list[Message]:
    number = attempt.command.attempt
    call = dispatcher.call(live, attempt.command)
    if in_doubt and attempt.status == "started" and not dispatcher.idempotent(call):
        return [Message(make=_lost(number))]
    live.local.add(number)
    handler = dispatcher.reserve(call)
    if handler is None:
        queued.append(number)
        return []
    return [Message(make=_restarted(number), then=lambda since: begin(live, call, handler, dispatcher, since), undo=lambda: dispatcher.release(handler))]


def begin(live: Live, call: TaskCall, handler: TaskHandler, dispatcher: Dispatcher, since: float) -> None:
    """Run an attempt whose place is reserved, and whose start was committed after `since` (monotonic)."""
    live.begun.add(call.attempt)
    dispatcher.run(call, handler, since)


def _lost(attempt: int) -> Callable[[Machine, int], Fact | None]:
    return lambda machine, now: facts.AttemptLost(at=now, attempt=attempt) if machine.open_attempt(attempt) is not None else None


def _restarted(attempt: int) -> Callable[[Machine, int], Fact | None]:
    # An attempt that had begun gets no second start record; the fact still marks that somebody has it in hand again.
    return lambda machine, now: facts.AttemptStarted(at=now, attempt=attempt) if machine.open_attempt(attempt) is not None else None
