"""A step as the store's write: pure, apart from taking the machine's snapshot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from flowrunner.core import facts as fact_codec
from flowrunner.core import records as record_codec
from flowrunner.core.commands import CancelAttempt, RunAttempt, Step
from flowrunner.core.facts import AttemptStarted, Fact
from flowrunner.engine.live import Live
from flowrunner.engine.ownership import extra_at_end, owner_and_extra
from flowrunner.ids import parse_arn
from flowrunner.ports.executions import ActivityTask, Chunk, Delivery, Head, StepWrite

# A snapshot replaces the facts before it. It is taken when replaying them would cost about as much as reading it: after
# some facts at least, and the rarer the larger it is, so that writing snapshots stays a fraction of writing history.
FACTS_PER_SNAPSHOT = 32
SNAPSHOT_BYTES_PER_FACT = 200


def step_write(
    live: Live, step: Step, facts: Sequence[Fact], *, node: str, create: bool = False, consumed: tuple[str, ...] = (), deliveries: tuple[Delivery, ...] = ()
) -> StepWrite:
    """Everything one step changes, as one write."""
    machine = live.machine
    head = _head(live, step, node)
    ended = step.outcome is not None
    chunk = Chunk(live.head.last_seq + 1, len(step.records), record_codec.encode(step.records)) if step.records else None
    snapshot = None if ended or not _wants_snapshot(live, len(facts)) else machine.snapshot()
    return StepWrite(
        head=head,
        create=create,
        before=None if create else live.head,
        chunk=chunk,
        fact_number=machine.fact_count,
        facts=None if ended or snapshot is not None or not facts else fact_codec.encode(facts),
        snapshot=snapshot,
        deliveries=deliveries,
        consumed=consumed,
        opened=() if ended else _opened(live, step),
        closed=() if ended else _closed(live, step, facts),
    )


def _wants_snapshot(live: Live, new: int) -> bool:
    return live.since_snapshot + new >= max(FACTS_PER_SNAPSHOT, live.snapshot_bytes // SNAPSHOT_BYTES_PER_FACT)


def _head(live: Live, step: Step, node: str) -> Head:
    machine, outcome = live.machine, step.outcome
    if outcome is not None:
        return replace(
            live.head,
            status=outcome.status,
            output=outcome.output,
            error=outcome.error,
            cause=outcome.cause,
            stopped_at=outcome.at,
            owner=None,
            extra=extra_at_end(live.head, outcome.verdict),
            wake_at=None,
            last_seq=machine.last_seq,
        )
    owner, extra = owner_and_extra(live, node, more=step.more)
    return replace(live.head, owner=owner, extra=extra, wake_at=machine.wake_at, last_seq=machine.last_seq)


def _opened(live: Live, step: Step) -> tuple[ActivityTask, ...]:
    if not step.commands:
        return ()
    return tuple(
        ActivityTask(activity=command.resource.arn, execution=live.id, attempt=command.attempt, input=command.parameters, scheduled_at=step_time(step))
        for command in step.commands
        if isinstance(command, RunAttempt) and command.resource.family == "activity" and _is_own(command.resource.arn, live.head.account)
    )


def _is_own(activity: str, account: str) -> bool:
    """Whether an activity is the account's: a task for another one's workers is opened to nobody, and waits as if there were none."""
    arn = parse_arn(activity)
    return arn is not None and arn.account == account


def step_time(step: Step) -> int:
    """When the step was made, milliseconds since 1970 UTC, by its last record."""
    return round(step.records[-1]["timestamp"] * 1000) if step.records else 0


def _closed(live: Live, step: Step, facts: Sequence[Fact]) -> tuple[int, ...]:
    cancelled = [command.attempt for command in step.commands if isinstance(command, CancelAttempt)]
    taken = [fact.attempt for fact in facts if isinstance(fact, AttemptStarted) and fact.attempt not in live.local]
    return tuple(cancelled + taken)
