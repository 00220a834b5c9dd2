"""Committing a step: one transaction with the fence in it, whatever is in its way.

A step that one transaction cannot hold (100 actions, 4 MB) sends its long values ahead, under a random token that nothing
refers to before the transaction; if that is not enough, its deliveries and tasks follow it (`redo`).
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from flowrunner.errors import Fenced, StoreError, StoreUnavailable
from flowrunner.ports.executions import Head, NameTaken
from flowrunner.stores.dynamodb.actions import fits, put
from flowrunner.stores.dynamodb.faults import CONDITION_FAILED, Cancelled, Reason
from flowrunner.stores.dynamodb.heads import OPEN, read_head
from flowrunner.stores.dynamodb.hold import let_go
from flowrunner.stores.dynamodb.keys import head_key, key_of, name_key, opened_key
from flowrunner.stores.dynamodb.steps import plan_step
from flowrunner.stores.dynamodb.values import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowrunner.ports.executions import StepWrite
    from flowrunner.stores.dynamodb.actions import Action, Group
    from flowrunner.stores.dynamodb.keys import Shards
    from flowrunner.stores.dynamodb.order import Order
    from flowrunner.stores.dynamodb.redo import Redo
    from flowrunner.stores.dynamodb.session import Session
    from flowrunner.stores.dynamodb.steps import Plan
    from flowrunner.stores.dynamodb.sweep import Sweeper
    from flowrunner.stores.dynamodb.values import Plain

MOST_WAITS = 6  # for one who reads the execution as a whole: a second or so
MOST_ROUNDS = 200  # of one commit: each leaves out at least one delivery, or waits for another writer


class _Overtaken(Exception):
    """What was to be written is decided already."""

    def __init__(self, answer: Head | NameTaken) -> None:
        super().__init__()
        self.answer = answer


class Commits:
    """Commits steps to one table."""

    def __init__(self, session: Session, shards: Shards, order: Order, sweeper: Sweeper, redo: Redo) -> None:
        self._session = session
        self._shards = shards
        self._order = order
        self._sweeper = sweeper
        self._redo = redo

    async def commit(self, write: StepWrite) -> Head | NameTaken:
        """See ExecutionStore.commit."""
        await self._redo.catch_up(write.head.id)
        before = None if write.create else await self._before(write)
        opened: dict[int, Plain] = {}
        if before is not None and write.closed and write.head.status in OPEN:
            keys = {opened_key(before.id, attempt): attempt for attempt in write.closed}
            opened = {keys[key]: found for key, found in (await self._session.get_all(keys)).items()}
        plan = plan_step(write, before, shards=self._shards, token=secrets.token_bytes(12), order=self._order.next, opened=opened)
        answer = await self.store(plan)
        if isinstance(answer, Head) and before is not None and (plan.is_over or write.snapshot is not None):
            self._sweeper.later(answer.id)
        return answer

    async def _before(self, write: StepWrite) -> Head:
        """The head that the step changes. One that was over is begun anew: what was left of its first life goes first."""
        before = write.before or await read_head(self._session, write.head.id)
        if before is None or (write.before is None and before.epoch != write.head.epoch):
            raise _fenced(write.head.id, write.head.epoch)
        if before.status not in OPEN and write.head.status in OPEN:
            await self._sweeper.sweep(before.id)
        return before

    async def store(self, plan: Plan, *, sweep: bool = True) -> Head | NameTaken:
        """Store what was planned; with `sweep` what was surely sent ahead in vain is removed."""
        core, groups, parts = plan.core, plan.groups, [*plan.parts.items, *(part for group in plan.groups for part in group.parts)]
        if fits([*core, *_flat(groups)], parts):
            return await self._transact(plan, [*core, *map(put, parts)], groups)
        await self._session.write_all(parts)
        try:
            answer = await self._store_rest(plan, core, groups)
        except Fenced:
            self._sweeper.drop(map(key_of, parts if sweep and not plan.is_doubted else ()))
            raise
        if sweep and not plan.is_doubted and isinstance(answer, NameTaken):  # anything else may have been stored
            self._sweeper.drop(map(key_of, parts))
        return answer

    async def _store_rest(self, plan: Plan, core: list[Action], groups: list[Group]) -> Head | NameTaken:
        """Store a step whose long values are there."""
        if fits([*core, *_flat(groups)]):
            return await self._transact(plan, core, groups)
        answer = await self._transact(plan, [*core, *await self._redo.note(plan.head, groups)], [])
        if isinstance(answer, Head):
            await self._redo.finish(plan.head.id, plan.head.epoch)
            self._redo.settled(plan.head.id)
        return answer

    async def _transact(self, plan: Plan, core: list[Action], groups: list[Group]) -> Head | NameTaken:
        """Send the transaction, without those groups that are refused, until it is done or the fence says no."""
        retried: set[str] = set()
        for attempt in range(1, MOST_ROUNDS + 1):
            actions = [*core, *_flat(groups)]
            try:
                await self._session.transact([action.wire for action in actions], lambda: self._look(plan), plan.doubt)
            except _Overtaken as overtaken:
                return overtaken.answer
            except Cancelled as cancelled:
                failed = {place: reason for place, reason in enumerate(cancelled.reasons) if reason.code == CONDITION_FAILED}
                answer = await self._refused(plan, {core[place].role: failed[place] for place in failed if place < len(core)})
                if answer is not None:
                    return answer
                places = {place - len(core) for place in failed if place >= len(core)}
                groups = await self._without(groups, places, failed, len(core), retried)
                if not places:
                    await self._session.pause(attempt)
            else:
                return plan.head
        raise StoreUnavailable(f"Execution {plan.head.id} cannot be written: others write to it all the time.")

    async def _look(self, plan: Plan) -> None:
        """Another transaction was in the way: see whether it has decided this one, rather than run into the next."""
        there = await self._session.get(head_key(plan.head.id))
        if there is not None and there.get("token") == plan.token:
            raise _Overtaken(plan.head)
        if plan.read is not None and (there is None or there["epoch"] != plan.read):
            raise _fenced(plan.head.id, plan.read)
        if plan.read is None:
            named = await self._session.get(name_key(plan.head.account, plan.head.machine, plan.head.name))
            head = await read_head(self._session, named["execution"]) if named is not None else None
            if head is not None:
                raise _Overtaken(NameTaken(head))

    async def _refused(self, plan: Plan, failed: dict[str, Reason]) -> Head | NameTaken | None:
        """What a failed condition of the fence or the name means; None if it says nothing and the step is tried again."""
        if "head" in failed:
            there = failed["head"].item
            if there is not None and plain(there).get("token") == plan.token:
                return plan.head  # it was done, and the answer lost
            if plan.read is not None and (there is None or not await self._waits(plan, plain(there))):
                raise _fenced(plan.head.id, plan.read)
            if plan.read is not None:
                return None
        if "name" in failed:
            there = failed["name"].item
            head = await read_head(self._session, plain(there)["execution"]) if there is not None else None
            return NameTaken(head) if head is not None else None  # None: it is being forgotten
        if "head" in failed:
            raise Fenced(f"Execution {plan.head.id} exists already.")
        if "" in failed:
            raise StoreError(f"A part of this write of execution {plan.head.id} is stored already.")
        return None

    async def _waits(self, plan: Plan, there: Plain) -> bool:
        """Whether the fence is right but somebody reads the execution as a whole; one who does so for too long is not waited for."""
        if there["epoch"] != plan.read or "held" not in there or "gone" in there:
            return False
        plan.waited += 1
        if plan.waited > MOST_WAITS:
            await let_go(self._session, plan.head.id, there["held"])
        return True

    async def _without(self, groups: list[Group], places: set[int], failed: dict[int, Reason], first: int, retried: set[str]) -> list[Group]:
        """The groups whose conditions held, and those that stood against a delivery to an execution that is over: that goes first."""
        kept = []
        place = 0
        for group in groups:
            hit = [number for number in range(place, place + len(group.actions)) if number in places]
            place += len(group.actions)
            if not hit or await self._is_stale(failed[first + hit[0]], retried):
                kept.append(group)
        return kept

    async def _is_stale(self, reason: Reason, retried: set[str]) -> bool:
        target = str(plain(reason.item).get("execution", "")) if reason.item else ""
        if not target or target in retried:
            return False
        retried.add(target)
        return await self._sweeper.is_over(target) and await self._sweeper.sweep(target)


def _flat(groups: Sequence[Group]) -> list[Action]:
    return [action for group in groups for action in group.actions]


def _fenced(execution: str, epoch: int) -> Fenced:
    return Fenced(f"Execution {execution} is no longer at epoch {epoch}.")
