"""Writes of documents: whole or not at all, and of many who write the same one wins."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from flowrunner.errors import DocumentConflict, StoreUnavailable
from flowrunner.ports.documents import APPEND_ONLY, CHANGES, Put
from flowrunner.testing.conformance.documents import BODIES, document, named, refused, removal, stored, unchanged
from flowrunner.testing.conformance.examples import ACCOUNT

if TYPE_CHECKING:
    from flowrunner.ports.documents import Change
    from flowrunner.ports.store import Store

WRITERS = 8


@pytest.mark.asyncio
class DocumentWriteConformance:
    """Atomicity and concurrency."""

    async def test_twenty_changes(self, store: Store) -> None:
        """The most changes of one write, with all their aliases and long bodies, are stored together; or none, if one stands against it."""
        of = store.documents
        every = [document(f"{number:02}", body=bytes([number]) * 100_000, aliases=tuple(f"{number}-{alias}" for alias in "abcd")) for number in range(CHANGES)]
        stored_ones = await stored(of, *every)
        wrong: list[Change] = [Put(named(replace(one, body=b"new"), *(f"new-{one.id}-{alias}" for alias in "abcd"))) for one in stored_ones]
        wrong[13] = Put(replace(stored_ones[13], version=9))
        await refused(of, 13, *wrong)
        assert await of.page(ACCOUNT, "user") == stored_ones
        wrong[13] = unchanged(stored_ones[13])
        await of.write(wrong)
        assert await of.find("new-00-a") is not None
        assert await of.find("0-a") is None
        assert await of.find("13-d") == stored_ones[13]
        now = await of.page(ACCOUNT, "user")
        await refused(of, 7, *map(removal, now[:7]), removal(replace(now[7], version=9)), *map(removal, now[8:]))
        assert await of.page(ACCOUNT, "user") == now
        await of.write([removal(one) for one in now])
        assert await of.page(ACCOUNT, "user") == []
        await stored(of, *every)

    @pytest.mark.parametrize("kind", ["create", "create with alias", "take an alias", "replace", "remove", "two documents"])
    async def test_one_of_many_wins(self, store: Store, kind: str) -> None:
        """Of several writers that have read the same state exactly one writes; the others get DocumentConflict, and leave nothing."""
        of = store.documents
        base, head = await stored(of, named(document("base"), "base"), document("head"))

        def changes(number: int) -> list[Change]:
            body = b"%d" % number
            of_each: dict[str, list[Change]] = {
                "create": [Put(document("new", body=body))],
                "create with alias": [Put(named(document("new", body=body), "alias", f"own-{number}"))],
                "take an alias": [Put(named(document(f"{number}", body=body), "alias"))],
                "replace": [Put(replace(base, body=body))],
                "remove": [removal(base)],
                "two documents": [Put(document(f"{number:04}", body=body)), Put(replace(head, body=body))],
            }
            return of_each[kind]

        answers = await asyncio.gather(*(of.write(changes(number)) for number in range(WRITERS)), return_exceptions=True)
        winners = [number for number, answer in enumerate(answers) if answer is None]
        assert all(isinstance(answer, DocumentConflict) for answer in answers if answer is not None), answers
        assert len(winners) == 1
        body = b"%d" % winners[0]
        found = {
            "create": await of.get(ACCOUNT, "user", "new"),
            "create with alias": await of.find("alias"),
            "take an alias": await of.find("alias"),
            "replace": await of.find("base"),
            "two documents": await of.get(ACCOUNT, "user", "head"),
        }.get(kind)
        assert (found is None and kind == "remove") or (found is not None and found.body == body)
        assert [await of.find(f"own-{number}") is not None for number in range(WRITERS)].count(True) == (kind == "create with alias")
        assert len(await of.page(ACCOUNT, "user")) == {"replace": 2, "remove": 1}.get(kind, 3)

    async def test_looks_across(self, store: Store) -> None:
        """Two writers each look at what the other one writes: at most one of them writes."""
        of = store.documents
        for turn in range(5):
            left, right = document(f"left-{turn}"), document(f"right-{turn}")
            writes: tuple[list[Change], ...] = ([unchanged(left), Put(right)], [unchanged(right), Put(left)])
            answers = await asyncio.gather(*map(of.write, writes), return_exceptions=True)
            assert [type(answer) for answer in answers].count(DocumentConflict) == 1, answers

    async def test_a_counter(self, store: Store) -> None:
        """Writers that read, add one and try again on a conflict lose no addition."""
        of = store.documents
        await stored(of, document(body=b"0"))

        async def add() -> None:
            for _ in range(200):
                there = await of.get(ACCOUNT, "user", "ada")
                assert there is not None
                try:
                    return await of.write([Put(replace(there, body=b"%d" % (int(there.body) + 1)))])
                except DocumentConflict:
                    await asyncio.sleep(0)
            raise AssertionError

        await asyncio.gather(*(add() for _ in range(WRITERS)))
        assert await of.get(ACCOUNT, "user", "ada") == document(version=WRITERS + 1, body=b"%d" % WRITERS)


@pytest.mark.asyncio
class DurableDocumentsConformance:
    """What the documents of a durable store show besides; the fixture `opened` as for DurableStoreConformance."""

    async def test_documents_are_there_after_opening_again(self, opened: Callable[[], AbstractAsyncContextManager[Store]]) -> None:
        """Whatever was answered before the end of one process is answered the same by the next; a stopped store says that it is."""
        async with opened() as store:
            kept = await stored(store.documents, named(document("short"), "x"), document("long", body=BODIES["1 MiB"]), document("0", kind=APPEND_ONLY))
            (gone,) = await stored(store.documents, named(document("gone"), "y"))
            await store.documents.write([removal(gone)])
        for call in (store.documents.get(ACCOUNT, "user", "short"), store.documents.find("x"), store.documents.write([Put(document("late"))])):
            with pytest.raises(StoreUnavailable):
                await call
        async with opened() as store:
            of = store.documents
            assert [await of.get(one.account, one.kind, one.id) for one in kept] == kept
            assert [await of.find(alias) for alias in "xy"] == [kept[0], None]
            assert await of.page(ACCOUNT, "user") == [kept[1], kept[0]]
            await refused(of, 0, Put(named(document("late"), "x")))
