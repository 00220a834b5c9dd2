"""Values of an account under keys, in its documents of the kind ``store``: atomic by comparing versions, and once for each attempt.

A document remembers the keys of the attempts that changed it last, with what they made of it: an attempt that is repeated because nobody
knows how it ended finds itself there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import quote, unquote
from weakref import WeakValueDictionary

from flowrunner.clock import Clock
from flowrunner.errors import DocumentConflict, StoreUnavailable
from flowrunner.jsonvalue import JSONValue, dumps, loads
from flowrunner.limits import KIB
from flowrunner.ports.documents import Document, DocumentStore, Put, Remove
from flowrunner.ports.tasks import begin
from flowrunner.tasks.nodes.kind import NodeFailed
from flowrunner.tasks.nodes.reading import bad

KIND = "store"
KEY_CHARACTERS = 200
NAMESPACE_CHARACTERS = 64
VALUE_BYTES = 256 * KIB  # of JSON text
REMEMBERED = 32  # attempts of one document
TRIES = 40  # writes against others' before an operation gives up
LOST_TRIES = 3  # writes whose outcome is not known
PAGE = 100
_ID_CHARACTERS = 512
_SAFE = "!\"#$&'()*+,-.:;<=>?@[\\]^_`{|}~"  # visible ASCII but for % and /, which have a meaning here
CONFLICT = "FlowRunner.Conflict"


@dataclass(frozen=True, slots=True)
class Value:
    """What is under a key; `expires_at` is milliseconds since 1970 UTC."""

    value: JSONValue
    expires_at: int | None = None


Change = Callable[[Value | None], Value]
T = TypeVar("T")


class Shelf:
    """The values of all accounts. `clock` says what has expired and spaces attempts to write."""

    def __init__(self, documents: DocumentStore, clock: Clock) -> None:
        self._documents = documents
        self._clock = clock
        self._locks: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()  # who shares this process takes turns

    def now(self) -> int:
        """The time, in milliseconds since 1970 UTC."""
        return self._clock.now()

    async def get(self, account: str, namespace: str, key: str) -> Value | None:
        """What is under a key."""
        found = await self._documents.get(account, KIND, document_id(namespace, key))
        return None if found is None else Value(loads(found.body)["value"], found.expires_at)

    async def items(self, account: str, namespace: str, prefix: str = "") -> AsyncIterator[tuple[str, JSONValue]]:
        """Every key that begins with `prefix`, in the order of their bytes, and its value."""
        start = f"{_quoted(namespace)}/"
        begins, after = start + _quoted(prefix), None
        while True:
            page = await self._documents.page(account, KIND, prefix=begins, after=after, limit=PAGE)
            for one in page:
                yield unquote(one.id.removeprefix(start)), loads(one.body)["value"]
            if len(page) < PAGE:
                return
            after = page[-1].id

    async def change(self, account: str, namespace: str, key: str, change: Change, attempt: str) -> Value:
        """Put what `change` makes of what is there in its place, once for each `attempt`; give it. `change` may be called again.

        Raises NodeFailed: what `change` raises, ``FlowRunner.Conflict``, ``States.DataLimitExceeded``; StoreUnavailable.
        """
        name = document_id(namespace, key)

        def write(found: Document | None) -> tuple[Put | None, Value]:
            body = {"value": None, "done": {}} if found is None else loads(found.body)
            if attempt in body["done"]:
                return None, Value(body["done"][attempt] if body["done"][attempt] is not None else body["value"], found.expires_at if found else None)
            made = change(None if found is None else Value(body["value"], found.expires_at))
            if len(dumps(made.value).encode()) > VALUE_BYTES:
                raise NodeFailed(f"The value of {key!r} would be larger than {VALUE_BYTES // KIB} KiB.", error="States.DataLimitExceeded")
            # A number is remembered as it was made; anything else may be large, and a repeated attempt gets what is there now.
            done = {**body["done"], attempt: made.value if isinstance(made.value, int | float) and not isinstance(made.value, bool) else None}
            kept = dict(list(done.items())[-REMEMBERED:])
            text = dumps({"value": made.value, "done": kept})
            version = 0 if found is None else found.version
            return Put(Document(account=account, kind=KIND, id=name, body=text.encode(), version=version, expires_at=made.expires_at)), made

        return await self._written(account, name, key, write)

    async def delete(self, account: str, namespace: str, key: str) -> bool:
        """Remove what is under a key; whether there was something. Raises NodeFailed ``FlowRunner.Conflict``; StoreUnavailable."""

        def write(found: Document | None) -> tuple[Remove | None, bool]:
            if found is None:
                return None, False
            return Remove(account=account, kind=KIND, id=found.id, version=found.version), True

        return await self._written(account, document_id(namespace, key), key, write)

    async def _written(self, account: str, name: str, key: str, write: Callable[[Document | None], tuple[Put | Remove | None, T]]) -> T:
        lock = self._locks.setdefault((account, name), asyncio.Lock())
        lost = 0
        async with lock:
            for attempt in range(TRIES):
                change, result = write(await self._documents.get(account, KIND, name))
                if change is None:
                    return result
                await begin()
                try:
                    await self._documents.write([change])
                except DocumentConflict:
                    await self._clock.sleep(min(0.002 * attempt, 0.05))
                except StoreUnavailable:  # the outcome is not known; a change that was made finds itself in the document
                    lost += 1
                    if lost == LOST_TRIES:
                        raise
                    await self._clock.sleep(0.1 * lost)
                else:
                    return result
        raise NodeFailed(f"Others changed {key!r} {TRIES} times while this attempt tried to.", error=CONFLICT)


def document_id(namespace: str, key: str) -> str:
    """The document of a key; characters that no id has are percent-encoded. Raises NodeFailed for a key that is too long."""
    if not 0 < len(namespace) <= NAMESPACE_CHARACTERS:
        raise bad(f"The parameter 'namespace' must have 1 to {NAMESPACE_CHARACTERS} characters.")
    name = f"{_quoted(namespace)}/{_quoted(key)}"
    if not 0 < len(key) <= KEY_CHARACTERS or len(name) > _ID_CHARACTERS:
        raise bad(f"The parameter 'key' must have 1 to {KEY_CHARACTERS} characters, fewer if they are not ASCII.")
    return name


def _quoted(text: str) -> str:
    return quote(text, safe=_SAFE, errors="surrogatepass")
