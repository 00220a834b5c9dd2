"""Subscriptions of webhooks: which events of the executions of a flow or a workflow are posted where.

A document holds a subscription; another one, of nobody's account, stands for what has been looked at (`definitions.hookevents`), by which every
server finds it. An event is delivered by an execution of a machine of ours with one task, the kind ``webhook``: it is as durable as all others, retries
as `Retry` does, and its signing key is a secret that the task reads at the last moment. The settings of a subscription are the text of that machine.
"""

from __future__ import annotations

import contextlib
import os
import re
import uuid
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace
from yarl import URL

from flowrunner.clock import Clock
from flowrunner.definitions.entries import DELIVERING, machine_name
from flowrunner.definitions.records import TRIES, Records, Stored
from flowrunner.errors import Conflict, DocumentConflict, InvalidDocument, LimitExceeded, NotFound, PreconditionFailed
from flowrunner.jsonvalue import JSONObject, dumps
from flowrunner.lang.dynamic import OPENING, is_whole
from flowrunner.ports.definitions import Revision
from flowrunner.ports.documents import SYSTEM, Document, Put, Remove
from flowrunner.ports.executions import ExecutionQuery
from flowrunner.ports.store import Store
from flowrunner.vault.secrets import Secrets
from flowrunner.vault.writing import Write

Target = Literal["flow", "workflow"]
KIND = "webhook"
OPEN = "webhook-open"  # in the SYSTEM account: ACCOUNT.ID, with the moment up to which executions have been looked for
RUN = "webhook-run"  # of an account: ID.EXECUTION, with the sequence number up to which its events have been delivered
OF_WEBHOOKS = "webhooks/"  # what the names of secrets begin with that sign events
MOST = 100  # of an account
MOST_HEADERS = 20
MOST_TEXT = 2000  # characters of an address, a header or a node's name
PAGE = 500
CHANGES = 10
LONGEST_DELAY = 24 * 3600  # seconds
_HEADER = re.compile(r"[A-Za-z0-9_-]{1,100}")
_OURS = frozenset({"content-type", "content-length", "host", "transfer-encoding", "connection", "webhook-id", "webhook-timestamp", "webhook-signature"})
ENDINGS = ("completed", "failed", "cancelled", "timed_out")
EVENTS: dict[Target, tuple[str, ...]] = {
    "flow": (*(f"flow.{ending}" for ending in ENDINGS), "node.completed", "node.failed"),
    "workflow": (*(f"workflow.{ending}" for ending in ENDINGS), "step.completed", "step.failed"),
}


class Retries(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often a delivery is tried again, and when: delays are in seconds, each longer than the one before by the factor."""

    max_retries: int = 8
    initial_delay: int = 5
    max_delay: int = 3600
    backoff_factor: float = 3.0


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription. `node` limits the events of nodes or steps to those of one. `revision` is the text of what delivers. Times are milliseconds."""

    id: str
    format: Target
    target: str
    url: str
    events: tuple[str, ...]
    revision: str
    created_at: int
    updated_at: int
    node: str | None = None
    headers: dict[str, str] = {}
    retries: Retries = Retries()
    signed: bool = False
    enabled: bool = True

    @property
    def follows_nodes(self) -> bool:
        """Whether it is about events within an execution, too."""
        return any(event.startswith(("node.", "step.")) for event in self.events)


class Looked(msgspec.Struct, frozen=True):
    """Up to when (milliseconds) the executions of a subscription have been looked for, and of which machine."""

    machine: str
    since: int


def secret_name(webhook: str) -> str:
    """The name of the secret that signs its events."""
    return f"{OF_WEBHOOKS}{webhook}"


def definition_of(webhook: Webhook) -> str:
    """The state machine that delivers one event, its input."""
    params: JSONObject = {"url": webhook.url, "headers": webhook.headers, "payload.$": "$", "id.$": "$.id", "whole": True}
    if webhook.signed:
        params["secret"] = f"{{{{resolve:secretsmanager:{secret_name(webhook.id)}:SecretString}}}}"
    wait = webhook.retries
    hopeless = ["FlowRunner.EgressRefused", "FlowRunner.InvalidParameters", "FlowRunner.SecretNotFound"]
    again: JSONObject = {
        "ErrorEquals": ["States.ALL"],
        "MaxAttempts": wait.max_retries,
        "IntervalSeconds": wait.initial_delay,
        "BackoffRate": wait.backoff_factor,
    }
    if wait.max_delay > wait.initial_delay:
        again["MaxDelaySeconds"] = wait.max_delay
    else:
        again["BackoffRate"] = 1.0
    deliver: JSONObject = {
        "Type": "Task",
        "Resource": "arn:aws:states:::flowrunner:webhook",
        "Parameters": {"params": params},
        "Retry": [{"ErrorEquals": hopeless, "MaxAttempts": 0}, again],
        "End": True,
    }
    return dumps({"Comment": "Delivers one event.", "StartAt": "Deliver", "States": {"Deliver": deliver}})


def delivering(webhook: str) -> str:
    """The name of the machine that delivers a subscription's events."""
    return f"{DELIVERING}/{webhook}"


class Webhooks:
    """The subscriptions of all accounts. `check` raises NotFound for a target that is not there; `changed` wakes what delivers."""

    def __init__(self, store: Store, clock: Clock, secrets: Secrets | None = None) -> None:
        self._store = store
        self._clock = clock
        self._secrets = secrets
        self.records = Records(store.documents, KIND, "webhook", Webhook)
        self.changed: Callable[[], None] = lambda: None

    async def get(self, account: str, name: str) -> Stored[Webhook]:
        """One of them; raises NotFound."""
        return await self.records.get(account, name)

    async def page(self, account: str, *, after: str | None = None, limit: int = 100) -> Sequence[Webhook]:
        """Subscriptions by id."""
        found = await self._store.documents.page(account, KIND, after=after, limit=limit)
        return [msgspec.json.decode(one.body, type=Webhook) for one in found]

    async def create(self, account: str, wanted: Webhook, secret: str | None = None, write: Write | None = None) -> Stored[Webhook]:
        """Keep a new one; what begins or goes on from now on is told. Raises InvalidDocument, LimitExceeded, Conflict, StoreUnavailable."""
        _check(wanted)
        if len(await self._store.documents.page(account, KIND, limit=MOST)) >= MOST:
            raise LimitExceeded(f"An account has at most {MOST} webhooks.")
        if secret is not None:
            await self._seal(account, wanted.id, secret, write)
        await self._note_running(account, wanted)
        now = self._clock.now()
        made = await self._kept(account, replace(wanted, signed=secret is not None, created_at=now, updated_at=now))
        looked = msgspec.json.encode(Looked(machine_name(made.format, made.target), now))
        mark = Put(Document(account=SYSTEM, kind=OPEN, id=f"{account}.{made.id}", body=looked))
        try:
            await self._store.documents.write([self.records.put(account, made.id, made, 0), mark])
        except DocumentConflict:
            raise Conflict(f"There is a webhook {made.id!r} already.") from None
        self.changed()
        return Stored(made, 1)

    async def change(
        self,
        account: str,
        name: str,
        make: Callable[[Webhook], Webhook],
        secret: str | UnsetType | None = UNSET,
        *,
        expected: int | None = None,
        write: Write | None = None,
    ) -> Stored[Webhook]:
        """Replace one by what `make` makes of it; without `secret` that stays, None removes it. What is being delivered goes on as before.

        `write` makes the write of the secret.

        Raises NotFound, PreconditionFailed, InvalidDocument, Conflict.
        """
        sealed = False
        for _ in range(TRIES):
            stored = await self.records.get(account, name)
            if expected not in (None, stored.tag):
                raise PreconditionFailed(f'The webhook is at "{stored.tag}", not at "{expected}": read it again.')
            wanted = make(stored.entry)
            if (stored.entry.format, stored.entry.target) != (wanted.format, wanted.target):
                raise InvalidDocument("A webhook stays with its flow or workflow: make another one.", pointer=f"/{stored.entry.format}_id")
            _check(wanted)
            if isinstance(secret, str) and not sealed:
                await self._seal(account, name, secret, write)
                sealed = True
            signed = stored.entry.signed if secret is UNSET else secret is not None
            kept = await self._kept(account, replace(wanted, signed=signed, updated_at=self._clock.now()))
            try:
                await self._store.documents.write([self.records.put(account, name, kept, stored.tag)])
            except DocumentConflict:
                continue
            if secret is None:
                await self._forget(account, name, write)
            self.changed()
            return Stored(kept, stored.tag + 1)
        raise Conflict("The webhook is changed by others all the time; try again.")

    async def delete(self, account: str, name: str, *, expected: int | None = None, write: Write | None = None) -> None:
        """Remove one with its secret: what is not delivered yet and is signed fails. Raises NotFound, PreconditionFailed, Conflict."""
        await self.records.delete(account, name, expected=expected)
        await self._forget(account, name, write)
        self.changed()

    async def erase(self, account: str) -> None:
        """Remove all of an account, before its executions end: nobody is told of these ends."""
        while page := await self._store.documents.page(account, KIND, limit=CHANGES):
            with contextlib.suppress(DocumentConflict):
                await self._store.documents.write([Remove(account=account, kind=KIND, id=one.id, version=one.version) for one in page])

    async def _kept(self, account: str, webhook: Webhook) -> Webhook:
        """The webhook with the text of what delivers stored."""
        number = str(uuid.UUID(bytes=os.urandom(16), version=4))
        revision = Revision(
            id=number, account=account, machine=delivering(webhook.id), definition=definition_of(webhook), role_arn="", created_at=self._clock.now()
        )
        await self._store.archive.put_revision(revision)
        return replace(webhook, revision=number)

    async def _note_running(self, account: str, webhook: Webhook) -> None:
        """Executions that run already are found by these notes, later ones by when they have started."""
        after: tuple[int, str] | None = None
        while True:
            query = ExecutionQuery(account=account, machine=machine_name(webhook.format, webhook.target), status="RUNNING", limit=PAGE, after=after)
            heads = await self._store.executions.list(query)
            for first in range(0, len(heads), CHANGES):
                notes = [Put(Document(account=account, kind=RUN, id=f"{webhook.id}.{head.id}", body=b"0")) for head in heads[first : first + CHANGES]]
                await self._store.documents.write(notes)
            if len(heads) < PAGE:
                return
            after = heads[-1].started_at, heads[-1].id

    async def _seal(self, account: str, name: str, secret: str, write: Write | None) -> None:
        if self._secrets is None:
            raise InvalidDocument("This server keeps no secrets.", pointer="/secret")
        await self._secrets.set(account, secret_name(name), secret, write=write)

    async def _forget(self, account: str, name: str, write: Write | None) -> None:
        if self._secrets is not None:
            with contextlib.suppress(NotFound):
                await self._secrets.delete(account, secret_name(name), write=write)

    async def close(self, account: str, name: str) -> None:
        """Remove what was kept beside a subscription that is gone."""
        documents = self._store.documents
        while page := await documents.page(account, RUN, prefix=f"{name}.", limit=CHANGES):
            with contextlib.suppress(DocumentConflict):
                await documents.write([Remove(account=account, kind=RUN, id=one.id, version=one.version) for one in page])
        for _ in range(TRIES):
            mark = await documents.get(SYSTEM, OPEN, f"{account}.{name}")
            if mark is None:
                return
            with contextlib.suppress(DocumentConflict):
                await documents.write([Remove(account=SYSTEM, kind=OPEN, id=mark.id, version=mark.version)])


def _check(webhook: Webhook) -> None:
    """Raise InvalidDocument for what cannot be one; whether the address may be called is found out when it is."""
    try:
        url = URL(webhook.url)
        good = url.scheme in ("http", "https") and bool(url.host) and len(webhook.url) <= MOST_TEXT and OPENING not in webhook.url
    except ValueError:
        good = False
    if not good:
        raise InvalidDocument(f"The address begins with http:// or https://, names a host and has at most {MOST_TEXT} characters.", pointer="/url")
    known = EVENTS[webhook.format]
    if not webhook.events or not set(webhook.events) <= set(known):
        raise InvalidDocument(f"Events of a {webhook.format} are {', '.join(known)}.", pointer="/events")
    if webhook.node is not None and (not 0 < len(webhook.node) <= MOST_TEXT or not webhook.follows_nodes):
        raise InvalidDocument(f"A node belongs to {' or '.join(known[-2:])}.", pointer="/node_id")
    if len(webhook.headers) > MOST_HEADERS:
        raise InvalidDocument(f"There are at most {MOST_HEADERS} headers.", pointer="/headers")
    for name, value in webhook.headers.items():
        if not _HEADER.fullmatch(name) or name.lower() in _OURS or len(value) > MOST_TEXT or not is_whole(value) or not value.isprintable():
            raise InvalidDocument(
                "A header has a name of letters, digits and hyphens that is not the server's own, and one line of text.", pointer=f"/headers/{name}"
            )
    wait = webhook.retries
    if not (0 <= wait.max_retries <= 50 and 1 <= wait.initial_delay <= wait.max_delay <= LONGEST_DELAY and 1 <= wait.backoff_factor <= 100):
        text = f"Retries: 0 to 50, delays of 1 to {LONGEST_DELAY} seconds, the first at most the longest, a factor of 1 to 100."
        raise InvalidDocument(text, pointer="/retry_config")
