"""A step as actions: what the fence decides (`core`), and what rides with it (`groups`). Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flowrunner.stores.dynamodb.actions import Action, Group, delete, put, update
from flowrunner.stores.dynamodb.heads import OPEN, changes, new_head
from flowrunner.stores.dynamodb.heads import update as expression
from flowrunner.stores.dynamodb.keys import chunk_key, facts_key, head_key, inbox_key, name_key, opened_key, partition, snapshot_key, task_key
from flowrunner.stores.dynamodb.values import BODY_BYTES, TEXT_BYTES, Parts, item_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from flowrunner.ports.archive import ArchivedExecution
    from flowrunner.ports.executions import ActivityTask, Delivery, Head, StepWrite
    from flowrunner.stores.dynamodb.keys import Key, Shards
    from flowrunner.stores.dynamodb.values import Plain

ABSENT = "attribute_not_exists(pk)"
FENCE = "epoch = :read AND attribute_not_exists(gone) AND attribute_not_exists(held)"
INLINE_HEAD = 12_000  # bytes that a head has at most: five short texts and the rest
MINE = f"{ABSENT} OR execution = :mine"


@dataclass(slots=True)
class Plan:
    """All that one step writes; `head` is the head as it will be stored, `token` what it is known by, `read` the epoch that was read.

    `is_doubted`: it may have been stored by a request whose answer did not come, whatever a later one was told.
    """

    head: Head
    token: bytes
    read: int | None  # None: it is created
    core: list[Action]
    groups: list[Group]
    parts: Parts
    waited: int = 0
    is_doubted: bool = False

    def doubt(self) -> None:
        """An answer did not come."""
        self.is_doubted = True

    @property
    def is_over(self) -> bool:
        """Whether the execution has ended."""
        return self.head.status not in OPEN


def plan_step(write: StepWrite, before: Head | None, *, shards: Shards, token: bytes, order: Callable[[], int], opened: Mapping[int, Plain]) -> Plan:
    """Everything this step changes. `before` is None for a create; `opened` are the open tasks among those it closes."""
    head = replace(write.head, epoch=write.head.epoch + 1)
    plan = Plan(head, token, None if before is None else write.head.epoch, [], [], Parts(partition(head.id)))
    if before is None:
        own: dict[str, object] = {} if plan.is_over else _own(plan, write)
        if not plan.is_over and write.facts is not None and write.snapshot is None:
            own["facts"] = 1
        _create(plan, shards, own)
    else:
        _update(plan, write, before, shards)
    _bodies(plan, write)
    _indexes(plan, before, shards)
    plan.groups += _consumed(write, shards)
    plan.groups += _deliveries(plan, write, shards, order)
    if not plan.is_over:
        plan.groups += _tasks(write, order, opened)
    return plan


def plan_archived(whole: ArchivedExecution, *, shards: Shards, token: bytes, order: Callable[[], int]) -> Plan:
    """An execution as it is, epoch included. Its log and what it needs to go on count as parts, which may be sent ahead."""
    head = whole.head
    plan = Plan(head, token, None, [], [], Parts(partition(head.id)))
    base = head.epoch - 1
    own: dict[str, object] = {"base": base, "facts": len(whole.facts) or None, "snapshot": None if whole.snapshot is None else base}
    _create(plan, shards, own)
    _indexes(plan, None, shards)
    bodies = [_body(plan, chunk_key(head.id, chunk.first_seq), chunk.body, count=chunk.count) for chunk in whole.chunks]
    bodies += [_body(plan, facts_key(head.id, head.epoch, fact_number), body) for fact_number, body in whole.facts]
    bodies += [] if whole.snapshot is None else [_body(plan, snapshot_key(head.id, base), whole.snapshot)]
    plan.parts.items += (body.request["Item"] for body in bodies)
    plan.groups += (_delivered(delivery, shards, order(), consumed=None) for delivery in whole.inbox)
    plan.groups += (_opened(task, order()) for task in whole.tasks)
    return plan


def _own(plan: Plan, write: StepWrite) -> dict[str, object]:
    """Our attributes of the head: from which epoch facts count, and the snapshot."""
    if plan.is_over:
        return {"base": plan.head.epoch, "facts": None, "snapshot": None}
    if write.snapshot is not None:
        return {"base": plan.head.epoch, "facts": None, "snapshot": plan.head.epoch}
    return {}


def _create(plan: Plan, shards: Shards, own: Mapping[str, object]) -> None:
    pk, sk = name_key(plan.head.account, plan.head.machine, plan.head.name)
    plan.core.append(put(new_head(plan.head, shards, plan.parts, plan.token, own), role="head", condition=ABSENT))
    plan.core.append(put(item_of({"pk": pk, "sk": sk, "execution": plan.head.id}), role="name", condition=ABSENT))


def _update(plan: Plan, write: StepWrite, before: Head, shards: Shards) -> None:
    changed = changes(before, plan.head, shards, plan.parts) | _own(plan, write)
    changed |= {"epoch": plan.head.epoch, "token": plan.token}
    added = {"facts": 1} if write.facts is not None and "facts" not in changed else {}
    plan.core.append(update(head_key(plan.head.id), expression(changed, added, FENCE, {"read": write.head.epoch}), role="head", size=INLINE_HEAD))


def _bodies(plan: Plan, write: StepWrite) -> None:
    """The chunk, and what is needed to go on."""
    execution, epoch = plan.head.id, plan.head.epoch
    if write.chunk is not None:
        plan.core.append(_body(plan, chunk_key(execution, write.chunk.first_seq), write.chunk.body, count=write.chunk.count))
    if plan.is_over:
        return
    if write.snapshot is not None:
        plan.core.append(_body(plan, snapshot_key(execution, epoch), write.snapshot))
    elif write.facts is not None:
        plan.core.append(_body(plan, facts_key(execution, epoch, write.fact_number), write.facts))


def _body(plan: Plan, key: Key, body: bytes, *, count: int | None = None) -> Action:
    return put(item_of({"pk": key[0], "sk": key[1], "count": count, **plan.parts.put("body", body, BODY_BYTES)}))


def _indexes(plan: Plan, before: Head | None, shards: Shards) -> None:
    """Where the execution waits, and whose it is."""
    old_due, new_due = shards.due_key(before) if before is not None else None, shards.due_key(plan.head)
    if old_due != new_due:
        if old_due is not None:
            plan.core.append(delete(old_due))
        if new_due is not None:
            plan.core.append(put(item_of({"pk": new_due[0], "sk": new_due[1], "execution": plan.head.id, "wake_at": plan.head.wake_at})))
    old, new = shards.owned_keys(before) if before is not None else {}, shards.owned_keys(plan.head)
    plan.core += (delete(key) for key in old if key not in new)
    plan.core += (put(item_of({"pk": key[0], "sk": key[1], "execution": plan.head.id, "node": node})) for key, node in new.items() if key not in old)


def _consumed(write: StepWrite, shards: Shards) -> Iterator[Group]:
    """Deliveries that leave the inbox; those of others are left alone."""
    again = {delivery.id for delivery in write.deliveries}
    mine = {"mine": write.head.id}
    for name in dict.fromkeys(write.consumed):
        if name not in again:
            yield Group((delete(shards.delivery_key(name), condition=MINE, values=mine), delete(inbox_key(write.head.id, name))))


def _deliveries(plan: Plan, write: StepWrite, shards: Shards, order: Callable[[], int]) -> Iterator[Group]:
    """Facts for others; one whose id lies in an inbox already is left out."""
    seen: set[str] = set()
    for delivery in write.deliveries:
        if delivery.id in seen:
            continue
        seen.add(delivery.id)
        if plan.is_over and delivery.execution == plan.head.id:
            continue
        yield _delivered(delivery, shards, order(), consumed=plan.head.id if delivery.id in write.consumed else None)


def _tasks(write: StepWrite, order: Callable[[], int], opened: Mapping[int, Plain]) -> Iterator[Group]:
    """Activity tasks that open and close."""
    for found in opened.values():
        yield Group((delete((found["pk"], found["sk"])), delete((found["queue"], found["place"]))))
    for task in write.opened:
        if task.attempt not in write.closed:
            yield _opened(task, order())


def _opened(task: ActivityTask, order: int) -> Group:
    queue, place = task_key(task, order)
    pk, sk = opened_key(task.execution, task.attempt)
    parts = Parts(partition(task.execution))
    values = {"pk": queue, "sk": place, "execution": task.execution, "attempt": task.attempt, "scheduled_at": task.scheduled_at}
    waiting = item_of({**values, "activity": task.activity, **parts.put("input", task.input, TEXT_BYTES)})
    return Group((put(item_of({"pk": pk, "sk": sk, "queue": queue, "place": place})), put(waiting)), tuple(parts.items))


def _delivered(delivery: Delivery, shards: Shards, order: int, *, consumed: str | None) -> Group:
    pk, sk = inbox_key(delivery.execution, delivery.id)
    parts = Parts(pk)
    fact = item_of({"pk": pk, "sk": sk, "id": delivery.id, "arrived": order, **parts.put("fact", delivery.fact, BODY_BYTES)})
    first, second = shards.delivery_key(delivery.id)
    mark = item_of({"pk": first, "sk": second, "id": delivery.id, "execution": delivery.execution, "arrived": order})
    if consumed is None:
        return Group((put(mark, condition=ABSENT), put(fact)), tuple(parts.items))
    replaced = [put(mark, condition=MINE, values={"mine": consumed}), put(fact)]
    if consumed != delivery.execution:
        replaced.append(delete(inbox_key(consumed, delivery.id)))
    return Group(tuple(replaced), tuple(parts.items))
