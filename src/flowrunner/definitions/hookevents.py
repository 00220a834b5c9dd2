"""What becomes of events: executions of subscribed definitions are followed, and each event that was asked for starts its delivery.

Nothing is noted while an execution runs: what has happened stands in its log, and how far that was delivered stands in a document. A server that dies
leaves both, and whoever looks next goes on. A delivery is named after the execution and the event's place in its log, so that it is started once,
however often and by however many servers it is tried. Executions of definitions that nobody subscribed to cost nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from typing import Any

import msgspec

from flowrunner.clock import DAY, MINUTE, Clock
from flowrunner.definitions.testruns import Starter
from flowrunner.definitions.webhooks import OPEN, PAGE, RUN, Looked, Webhook, Webhooks, delivering
from flowrunner.errors import DocumentConflict, FlowRunnerError, NotFound
from flowrunner.jsonvalue import MAX_DEPTH, JSONObject, depth, dumps, loads
from flowrunner.ports.definitions import Machine
from flowrunner.ports.documents import SYSTEM, Change, Document, Put, Remove
from flowrunner.ports.executions import Chunk, ExecutionQuery, Head
from flowrunner.ports.store import Store
from flowrunner.views.records import at, ended_by, entries, moment, note

LOOK_SECONDS = 10.0  # between two looks at what others have left, and at what has ended elsewhere
OVERLAP = 2 * MINUTE  # an execution may be stored later than it says that it has started
DONE = "webhook-done"  # of an account: ID.EXECUTION, of which all is delivered; it expires
MOST_CAUSE_CHARACTERS = 8192
MOST_KNOWN = 100_000  # executions that are remembered as done
ENDED = {"SUCCEEDED": "completed", "FAILED": "failed", "ABORTED": "cancelled", "TIMED_OUT": "timed_out"}
MOST_DATA_BYTES = 64 * 1024  # of what was returned, as JSON: an event is no way to move data, and is the input of its delivery
MOST_DATA_DEPTH = MAX_DEPTH - 8  # the delivery wraps it
_STEPS = {"success": "completed", "failed": "failed"}


class HookEvents:
    """Starts deliveries. `report` is told what went wrong: an event's name and its detail."""

    def __init__(self, webhooks: Webhooks, store: Store, starter: Starter, clock: Clock, report: Callable[[str, dict[str, Any]], None]) -> None:
        self._webhooks = webhooks
        self._store = store
        self._starter = starter
        self._clock = clock
        self._report = report
        self._watched: dict[tuple[str, str], dict[str, bool]] = {}  # account and machine: subscriptions, and whether they ask for nodes
        self._known: dict[tuple[str, str, str], None] = {}  # account, subscription, execution: done
        self._moved: dict[str, Head] = {}
        self._woken = asyncio.Event()
        self._look_now = True

    async def start(self, stack: AsyncExitStack) -> None:
        """Begin to look; the end is on `stack`."""
        self._webhooks.changed = self._changed
        stack.push_async_callback(_ended, asyncio.create_task(self._run()))

    def tap(self, head: Head, chunk: Chunk | None) -> None:
        """Note a commit of this server: one look into a table that is empty where there are no subscriptions."""
        asked = self._watched.get((head.account, head.machine))
        if asked is not None and chunk is not None and (head.status in ENDED or any(asked.values())):
            self._moved[head.id] = head
            self._woken.set()

    def _changed(self) -> None:
        self._look_now = True
        self._woken.set()

    async def _run(self) -> None:
        following = self._clock.monotonic()
        while True:
            self._woken.clear()
            moved, self._moved = self._moved, {}
            try:
                if self._look_now or self._clock.monotonic() >= following:
                    self._look_now, following = False, self._clock.monotonic() + LOOK_SECONDS
                    await self.look()
                for head in moved.values():
                    for name in tuple(self._watched.get((head.account, head.machine), ())):
                        await self._follow(head.account, name, head.id)
            except FlowRunnerError as error:  # the next look makes up for it
                self._report("webhooks_not_looked_at", {"error": error.message})
            await self._sleep(following - self._clock.monotonic())

    async def _sleep(self, seconds: float) -> None:
        """Wait for a commit or a change here, or for the time of a look."""
        sleeping = asyncio.ensure_future(self._clock.sleep(max(seconds, 0.0)))
        woken = asyncio.ensure_future(self._woken.wait())
        try:
            await asyncio.wait((sleeping, woken), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in (sleeping, woken):
                wait.cancel()
            await asyncio.gather(sleeping, woken, return_exceptions=True)

    async def look(self) -> None:
        """Find what the executions of every subscription have not told yet. Raises StoreUnavailable."""
        watched: dict[tuple[str, str], dict[str, bool]] = {}
        marks: list[tuple[Document, Webhook]] = []
        last: str | None = None
        while page := await self._store.documents.page(SYSTEM, OPEN, after=last, limit=PAGE):
            for mark in page:
                account, name = mark.id.split(".", 1)
                if (stored := await self._webhooks.records.find(account, name)) is None:
                    await self._webhooks.close(account, name)
                    continue
                machine = msgspec.json.decode(mark.body, type=Looked).machine
                watched.setdefault((account, machine), {})[name] = stored.entry.follows_nodes
                marks.append((mark, stored.entry))
            last = page[-1].id
        self._watched = watched  # from now on commits here are noted; those before are found below
        for mark, webhook in marks:
            try:
                await self._look_at(mark, webhook)
            except FlowRunnerError as error:
                self._report("webhook_not_looked_at", {"webhook": mark.id, "error": error.message})

    async def _look_at(self, mark: Document, webhook: Webhook) -> None:
        account, name = mark.id.split(".", 1)
        looked, now = msgspec.json.decode(mark.body, type=Looked), self._clock.now()
        after: tuple[int, str] | None = None
        fresh: list[str] = []
        while True:
            query = ExecutionQuery(account=account, machine=looked.machine, limit=PAGE, after=after)
            page = await self._store.executions.list(query)
            found = [head for head in page if head.started_at >= looked.since - OVERLAP]
            fresh += [head.id for head in found if (account, name, head.id) not in self._known]
            if len(found) < PAGE:
                break
            after = page[-1].started_at, page[-1].id
        for execution in reversed(fresh):
            await self._follow(account, name, execution)
        last: str | None = None
        while notes := await self._store.documents.page(account, RUN, prefix=f"{name}.", after=last, limit=PAGE):
            noted = {one.id.rpartition(".")[2]: int(one.body) for one in notes}
            positions = await self._store.executions.positions(list(noted))
            for execution, seq in noted.items():
                position = positions.get(execution)
                if position is None or position.status in ENDED or (webhook.follows_nodes and position.last_seq > seq):
                    await self._follow(account, name, execution)
            last = notes[-1].id
        if now - looked.since >= MINUTE:  # all that started before is done, or has a note
            put = Put(Document(account=SYSTEM, kind=OPEN, id=mark.id, body=msgspec.json.encode(Looked(looked.machine, now)), version=mark.version))
            with suppress(DocumentConflict):
                await self._store.documents.write([put])

    async def _follow(self, account: str, name: str, execution: str) -> None:
        """Deliver what an execution has to tell, and note how far that was."""
        key, stored = (account, name, execution), await self._webhooks.records.find(account, name)
        if stored is None or key in self._known:
            return
        documents, place = self._store.documents, f"{name}.{execution}"
        there = await documents.get(account, RUN, place)
        if there is None and await documents.get(account, DONE, place) is not None:
            self._done(key)
            return
        head = await self._store.executions.head(execution)
        after = 0 if there is None else int(there.body)
        ended = head is None or head.status in ENDED
        if head is not None and stored.entry.enabled:
            for seq, body in [pair async for pair in self._events(stored.entry, head, after)]:
                await self._deliver(account, stored.entry, execution, seq, body)
        version = 0 if there is None else there.version
        last = str(0 if head is None else head.last_seq).encode()
        changes: list[Change] = []
        if ended:
            changes = [Put(Document(account=account, kind=DONE, id=place, body=last, expires_at=self._clock.now() + DAY))]
            changes += [] if there is None else [Remove(account=account, kind=RUN, id=place, version=version)]
        elif there is None or (stored.entry.follows_nodes and there.body != last):
            changes = [Put(Document(account=account, kind=RUN, id=place, body=last, version=version))]
        if changes:
            with suppress(DocumentConflict):  # another server was faster, with the same
                await documents.write(changes)
        if ended:
            self._done(key)

    async def _events(self, webhook: Webhook, head: Head, after: int) -> AsyncIterator[tuple[int, JSONObject]]:
        """The events of a subscription after a place in the log, as (place, body)."""
        if webhook.follows_nodes:
            async for page in entries(self._store.executions, head.id, after=after):
                for seq, record in page:
                    told = note(record)
                    if seq > head.last_seq or record["type"] != "StepCompleted" or told is None or at(record) < webhook.created_at:
                        continue
                    for body in _of_step(webhook, told):
                        yield seq, {**body, "timestamp": moment(at(record))}
        ending = ENDED.get(head.status)
        if (
            ending is not None
            and head.last_seq > after
            and (head.stopped_at or 0) >= webhook.created_at
            and (event := f"{webhook.format}.{ending}") in webhook.events
        ):
            data = _returned(head.output) if ending == "completed" else _failed(*ended_by(head))
            yield head.last_seq, {"event": event, "status": ending, **data, "timestamp": moment(head.stopped_at or 0)}

    async def _deliver(self, account: str, webhook: Webhook, execution: str, seq: int, told: JSONObject) -> None:
        revision = await self._store.definitions.revision(webhook.revision)
        if revision is None:
            raise NotFound("text of the webhook", webhook.id)
        machine = Machine(account=account, name=delivering(webhook.id), type="STANDARD", created_at=webhook.created_at, revision=revision)
        body: JSONObject = {
            "id": f"{webhook.id}.{execution}.{seq}",
            "type": told["event"],
            "event": told["event"],
            "timestamp": told["timestamp"],
            "execution_id": execution,
            f"{webhook.format}_id": webhook.target,
            "node_id": told.get("node_id"),
            "status": told["status"],
            **{name: told[name] for name in ("iteration", "data", "data_omitted") if name in told},
        }
        await self._starter.begin(machine, name=f"{execution}-{seq}-{told['event']}", input=dumps(body))

    def _done(self, key: tuple[str, str, str]) -> None:
        self._known[key] = None
        if len(self._known) > MOST_KNOWN:
            del self._known[next(iter(self._known))]


def _of_step(webhook: Webhook, told: dict[str, Any]) -> Iterator[JSONObject]:
    """What the end of a node or step is to a subscription."""
    status = _STEPS.get(told["status"])
    event = f"{'node' if webhook.format == 'flow' else 'step'}.{status}"
    if status is not None and event in webhook.events and webhook.node in (None, told["stepId"]):
        data = _returned(told.get("output")) if status == "completed" else _failed(told.get("error"), told.get("cause"))
        yield {"event": event, "status": status, "node_id": told["stepId"], **data, **({"iteration": told["iteration"]} if "iteration" in told else {})}


def _returned(text: str | None) -> JSONObject:
    """What a node or a run gave, as its log has it; what is too large or too deep is left out."""
    if text is not None and len(text.encode()) <= MOST_DATA_BYTES and depth(value := loads(text), MOST_DATA_DEPTH) <= MOST_DATA_DEPTH:
        return {"data": value}
    return {"data": None, **({} if text is None else {"data_omitted": True})}


def _failed(error: str | None, cause: str | None) -> JSONObject:
    return {"data": {"error": error, "cause": None if cause is None else cause[:MOST_CAUSE_CHARACTERS]}}


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
