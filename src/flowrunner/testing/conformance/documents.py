"""Documents: versions, bodies, aliases, expiry, pages."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from flowrunner.errors import DocumentConflict
from flowrunner.ports.documents import ALIASES, APPEND_ONLY, BODY_BYTES, CHANGES, SYSTEM, Document, Put, Remove, Unchanged
from flowrunner.testing.clock import ManualClock
from flowrunner.testing.conformance.examples import ACCOUNT

if TYPE_CHECKING:
    from flowrunner.ports.documents import Change, DocumentStore
    from flowrunner.ports.store import Store

OTHER = "999999999999"
NOW = 4_000_000_000_000  # 2096: a database that removes what has expired by itself does not do so while tests run

BODIES = {
    "empty": b"",
    "one byte": b"\0",
    "every byte": bytes(range(256)),
    "not UTF-8": b"\xff\xfe\x80",
    "four bytes": "😀\U0010ffff".encode() * 1000,
    "1 byte above a part": b"\xa5" * 300_001,
    "1 MiB": "😀".encode() * (BODY_BYTES // 4),
}
NAMES = ("!", "#", "a#b", "%", "~~", "Z", "z", "0001", "10", "9", "a/b", "'\";--", "b#x#00001", "d#x", ":now", "x" * 512)


def document(id: str = "ada", **changes: Any) -> Document:  # noqa: A002  # what it is called everywhere
    """A user."""
    return replace(Document(account=ACCOUNT, kind="user", id=id, body=b'{"name":"Ada"}'), **changes)


def named(one: Document, *aliases: str) -> Document:
    """The same with these aliases."""
    return replace(one, aliases=aliases)


def removal(one: Document) -> Remove:
    """Its removal, at the version it has."""
    return Remove(account=one.account, kind=one.kind, id=one.id, version=one.version)


def unchanged(one: Document) -> Unchanged:
    """The condition that it has the version it has."""
    return Unchanged(account=one.account, kind=one.kind, id=one.id, version=one.version)


async def stored(of: DocumentStore, *documents: Document) -> list[Document]:
    """Store documents in one write and give them as they are stored."""
    await of.write([Put(one) for one in documents])
    found = [await of.get(one.account, one.kind, one.id) for one in documents]
    assert found == [replace(one, version=one.version + 1) for one in documents]
    return [one for one in found if one is not None]


async def refused(of: DocumentStore, position: int, *changes: Change) -> None:
    """A write that stands against what is stored, told by the change that does."""
    with pytest.raises(DocumentConflict) as caught:
        await of.write(changes)
    assert caught.value.change == position


async def ids_of(of: DocumentStore, **page: Any) -> list[str]:
    """The ids of a page of users."""
    return [one.id for one in await of.page(ACCOUNT, "user", **page)]


@pytest.mark.asyncio
class DocumentConformance:
    """Every sentence of `ports.documents` about one document, an alias, a page. The tests bring a fixture `store`, on the clock that the suite's own fixture `clock` gives."""

    @pytest.fixture
    def clock(self) -> ManualClock:
        """What the store takes for the time."""
        return ManualClock(NOW)

    # --- versions

    async def test_a_document_comes_back(self, store: Store) -> None:
        """What is put is got in every part, with version 1; what is not there is None."""
        of = store.documents
        one = document(aliases=("username:ada", "mail:ada@example.org"), expires_at=NOW + 5)
        for absent in (await of.get(ACCOUNT, "user", "ada"), await of.find("username:ada")):
            assert absent is None
        await stored(of, one)
        for there in (await of.get(ACCOUNT, "user", "ada"), await of.find("username:ada"), await of.find("mail:ada@example.org")):
            assert there == replace(one, version=1)
        for account, kind, name in ((OTHER, "user", "ada"), (ACCOUNT, "token", "ada"), (ACCOUNT, "user", "Ada"), (ACCOUNT, "user", "ad")):
            assert await of.get(account, kind, name) is None

    @pytest.mark.parametrize("name", ["", "ä", "a b", "\0", "a\0", "\ud800", "x" * 513, "\n", "ada\n"])
    async def test_names_that_nothing_can_have(self, store: Store, name: str) -> None:
        """Whatever text is asked for, the answer is that there is no such document."""
        of = store.documents
        await stored(of, named(document(), "ada"))
        assert await of.get(ACCOUNT, "user", name) is None
        assert await of.find(name) is None
        if name:
            assert await of.page(ACCOUNT, "user", prefix=name) == []
        for reverse in (False, True):
            assert len(await of.page(ACCOUNT, "user", after=name, reverse=reverse)) in (0, 1)
            with pytest.raises(ValueError, match="key"):
                await of.write([Put(document(name))])

    async def test_the_version_counts_the_writes(self, store: Store) -> None:
        """Each write raises it by one; only who names the present one writes, and the body is replaced as a whole."""
        of = store.documents
        for version in range(5):
            (now,) = await stored(of, document(version=version, body=b"%d" % version))
            assert now.version == version + 1
        for version in (0, 4, 6, -1):
            await refused(of, 0, Put(document(version=version)))
            await refused(of, 0, Remove(account=ACCOUNT, kind="user", id="ada", version=version))
        assert await of.get(ACCOUNT, "user", "ada") == now
        await of.write([removal(now)])
        assert await of.get(ACCOUNT, "user", "ada") is None
        await refused(of, 0, removal(now))
        (again,) = await stored(of, document())
        assert again.version == 1

    async def test_unchanged(self, store: Store) -> None:
        """A write goes through only if what it names as unchanged has that version, or is absent for version 0; that itself stays."""
        of = store.documents
        (one,) = await stored(of, document("one"))
        away = document("away")
        await of.write([unchanged(one), unchanged(away), Put(document("two"))])
        await refused(of, 1, Put(document("three")), unchanged(replace(one, version=2)))
        await refused(of, 0, unchanged(replace(away, version=1)), Put(document("three")))
        await refused(of, 1, Put(document("three")), unchanged(document("two")))
        await of.write([unchanged(one)])
        assert await ids_of(of) == ["one", "two"]
        assert await of.get(ACCOUNT, "user", "one") == one

    async def test_the_position_of_a_conflict(self, store: Store) -> None:
        """A conflict names a change that stands against the write, and nothing of the write is stored."""
        of = store.documents
        await stored(of, *(document(f"{number}") for number in range(4)))
        for wrong in range(4):
            changes: list[Change] = [Put(document(f"{number}", version=1, body=b"new")) for number in range(4)]
            changes[wrong] = Put(document(f"{wrong}", version=2))
            await refused(of, wrong, *changes)
        await refused(of, 2, Put(document("4")), removal(document("0", version=1)), Put(named(document("5", version=1))))
        assert [one.body for one in await of.page(ACCOUNT, "user")] == [document().body] * 4

    # --- sizes and refusals

    @pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
    async def test_bodies(self, store: Store, body: bytes) -> None:
        """Every body comes back as it was, up to 1 MiB, by every way, and after it was replaced."""
        of = store.documents
        (one,) = await stored(of, document(body=body))
        (one,) = await stored(of, named(replace(one, body=body + b"!" if len(body) < BODY_BYTES else body), "alias"))
        assert await of.find("alias") == one
        (one,) = await stored(of, named(replace(one, body=body), "alias"))
        assert await of.page(ACCOUNT, "user") == [one]
        await of.write([removal(one)])
        assert await of.get(ACCOUNT, "user", "ada") is None

    async def test_names(self, store: Store) -> None:
        """Ids and aliases of every character and length that they may have are kept apart."""
        of = store.documents
        await stored(of, *(document(name, body=name.encode(), aliases=(name,)) for name in NAMES))
        for name in NAMES:
            by_id, by_alias = await of.get(ACCOUNT, "user", name), await of.find(name)
            assert by_id is not None
            assert by_id == by_alias
            assert by_id.body == name.encode()
        assert await ids_of(of) == sorted(NAMES)

    @pytest.mark.parametrize(
        "changes",
        [
            [],
            [Put(document(f"{number}")) for number in range(CHANGES + 1)],
            [Put(document()), Put(document())],
            [Put(document()), unchanged(document())],
            [Put(document(body=b"x" * (BODY_BYTES + 1)))],
            [Put(document(aliases=tuple("abcde")))],
            [Put(document(aliases=("a", "a")))],
            [Put(document(aliases=("a b",)))],
            [Put(document(account="12345678901"))],
            [Put(document(account=""))],
            [Put(document(kind="User"))],
            [Put(document(kind="u" * 33))],
            [Put(document("ä"))],
            [Put(document(kind=APPEND_ONLY, version=1))],
            [Put(document(kind=APPEND_ONLY, expires_at=NOW + 1))],
            [removal(document(kind=APPEND_ONLY))],
        ],
        ids=[
            *("no change", "too many", "twice", "twice in other ways", "too long", "too many aliases", "an alias twice", "no alias"),
            *("a short account", "no account", "no kind", "a long kind", "no id", "an audit replaced", "an audit that expires", "an audit removed"),
        ],
    )
    async def test_what_no_store_takes(self, store: Store, changes: list[Change]) -> None:
        """A write that is wrong in itself is refused, whatever is stored, and changes nothing."""
        with pytest.raises(ValueError, match=r"."):
            await store.documents.write(changes)
        assert await store.documents.page(ACCOUNT, "user") == []

    async def test_append_only(self, store: Store) -> None:
        """A document of the audit log is created once, may be named as unchanged, and stays."""
        of, entry = store.documents, document("0" * 16, kind=APPEND_ONLY)
        await stored(of, entry)
        await refused(of, 0, Put(entry))
        await of.write([unchanged(replace(entry, version=1)), Put(replace(entry, id="0" * 15 + "1"))])
        assert [one.version for one in await of.page(ACCOUNT, APPEND_ONLY)] == [1, 1]

    # --- aliases

    async def test_an_alias_is_one_documents(self, store: Store) -> None:
        """An alias is unique over all accounts and kinds: whoever wants another's is refused, and told at which change."""
        of = store.documents
        await stored(of, named(document(), "username:ada", "key:1"))
        for other in (document("other"), document(account=OTHER), document(kind="token"), document(account=SYSTEM, kind="account")):
            await refused(of, 0, Put(named(other, "key:2", "username:ada")))
            await refused(of, 1, Put(document("free")), Put(named(other, "key:1")))
        await refused(of, 1, Put(named(document("x"), "new")), Put(named(document("y"), "new")))
        for alias in ("key:2", "new"):
            assert await of.find(alias) is None
        assert await ids_of(of) == ["ada"]

    async def test_aliases_are_freed(self, store: Store) -> None:
        """A document that is replaced has the aliases of its new form, one that is removed has none; what is free may be taken."""
        of = store.documents
        (ada,) = await stored(of, named(document(), "a", "b"))
        (ada,) = await stored(of, named(ada, "b", "c"))
        assert await of.find("a") is None
        assert await of.find("b") == await of.find("c") == ada
        (bob,) = await stored(of, named(document("bob", account=OTHER), "a"))
        (ada,) = await stored(of, named(ada))
        assert [await of.find(alias) for alias in "abc"] == [bob, None, None]
        await of.write([removal(bob)])
        (eve,) = await stored(of, named(document("eve"), *"abcd"))
        assert [await of.find(alias) for alias in "abcd"] == [eve] * ALIASES
        await refused(of, 0, Put(named(ada, "d")))
        (eve,) = await stored(of, named(eve, *"dcba"))
        assert eve.aliases == ("d", "c", "b", "a")

    async def test_an_alias_moves_within_a_write(self, store: Store) -> None:
        """From a document that the write removes or replaces without it, to another one; not from one that is only looked at."""
        of = store.documents
        old, first, second = await stored(of, named(document("old"), "x"), named(document("first"), "y"), named(document("second"), "z"))
        await refused(of, 1, unchanged(old), Put(named(document("new"), "x")))
        await of.write([Put(named(document("new"), "x")), removal(old)])
        await of.write([Put(named(first, "z")), Put(named(second, "y"))])
        assert [getattr(await of.find(alias), "id", None) for alias in "xyz"] == ["new", "second", "first"]
        await refused(of, 1, Put(named(replace(first, version=2), "z")), Put(named(replace(second, version=2), "z")))

    # --- expiry

    async def test_what_has_expired_is_absent(self, store: Store, clock: ManualClock) -> None:
        """Until the millisecond of its expiry a document is there, from then on by no way; others stay."""
        of = store.documents
        (soon, later) = await stored(of, named(document("soon", expires_at=NOW + 1000), "s"), named(document("later", expires_at=NOW + 1001), "l"))
        clock.jump(0.999)
        assert await of.get(ACCOUNT, "user", "soon") == await of.find("s") == soon
        assert await of.page(ACCOUNT, "user") == [later, soon]
        await of.write([unchanged(soon)])
        clock.jump(0.001)
        assert await of.get(ACCOUNT, "user", "soon") is None
        assert await of.find("s") is None
        for page in ({}, {"limit": 1}, {"reverse": True, "limit": 1}):
            assert await ids_of(of, **page) == ["later"]
        await refused(of, 0, Put(soon))
        await refused(of, 0, removal(soon))
        await refused(of, 0, unchanged(soon))
        await of.write([unchanged(replace(soon, version=0)), Put(replace(later, expires_at=None))])
        clock.jump(1000)
        assert await ids_of(of) == ["later"]

    async def test_what_has_expired_makes_room(self, store: Store, clock: ManualClock) -> None:
        """Its id and its aliases are free; the new one begins at version 1 and lasts as long as itself says."""
        of = store.documents
        one = named(document("one", expires_at=NOW + 1, body=b"old"), "x", "y")
        await stored(of, one, named(document("two", expires_at=NOW + 1), "z"), document("three", expires_at=NOW + 1))
        clock.jump(0.001)
        (again,) = await stored(of, named(document("one"), "y"))
        assert [await of.find(alias) for alias in "xy"] == [None, again]
        (new,) = await stored(of, named(document("new", account=OTHER), *"xz"))
        assert [await of.find(alias) for alias in "xz"] == [new, new]
        (two,) = await stored(of, document("two"))
        (three,) = await stored(of, document("three"))
        clock.jump(1000)
        assert await of.page(ACCOUNT, "user") == [again, three, two]

    async def test_a_longer_life(self, store: Store, clock: ManualClock) -> None:
        """A document may be put with a later expiry, and then lives until that, its aliases too."""
        of = store.documents
        (one,) = await stored(of, named(document(expires_at=NOW + 10), "x"))
        (one,) = await stored(of, replace(one, expires_at=NOW + 20))
        clock.jump(0.019)
        assert await of.find("x") == one
        clock.jump(0.001)
        assert await of.find("x") is None

    async def test_what_has_expired_is_removed_for_good(self, store: Store, clock: ManualClock) -> None:
        """The archive names what has expired, and a removal at version 0 takes it away; what lives is not hurt by it."""
        of = store.documents
        for number in range(5):
            await stored(of, named(document(f"{number}", expires_at=NOW + 1 + number), f"alias-{number}"))
        await stored(of, document("for-ever"))
        clock.jump(0.003)
        keys = [(ACCOUNT, "user", name) for name in "012"]
        assert await store.archive.expired(clock.now(), None, 9) == keys
        assert await store.archive.expired(clock.now(), keys[0], 1) == keys[1:2]
        assert await store.archive.expired(NOW, None, 9) == []
        await stored(of, document("1"))
        for name in "02":
            await of.write([removal(document(name))])
        await refused(of, 0, removal(document("1")))
        assert await store.archive.expired(clock.now(), None, 9) == []
        assert await ids_of(of) == ["1", "3", "4", "for-ever"]
        assert (await store.archive.size())["documents"] == 4

    # --- pages

    async def test_pages(self, store: Store) -> None:
        """By id as bytes, ascending or descending, above or below `after`, only what begins with `prefix`, of one account and kind."""
        of = store.documents
        ids = sorted(("a", "a!", "a#", "aa", "ab", "a~", "a~~", "b", "B", "ba", "0", "00", "9", "~"))
        await stored(of, *map(document, ids))
        await stored(of, document("aa", account=OTHER), document("aa", kind="token"), document("aa", kind="user-x"))
        for prefix in ("", "a", "a~", "b", "B", "0", "c", "~", "~~", "a!"):
            for after in (None, "", "!", "a", "a!", "aa", "aaa", "b", "c", "~", "ä", "\0", "a\0", "a\x7f", "aé"):
                for limit in (100, 1, 3):
                    wanted = [name for name in ids if name.startswith(prefix) and (after is None or name > after)]
                    assert await ids_of(of, prefix=prefix, after=after, limit=limit) == wanted[:limit]
                    below = [name for name in reversed(ids) if name.startswith(prefix) and (after is None or name < after)]
                    assert await ids_of(of, prefix=prefix, after=after, limit=limit, reverse=True) == below[:limit]

    async def test_pages_of_long_bodies(self, store: Store) -> None:
        """A page has whole documents, however long, and as many as were asked for."""
        of = store.documents
        bodies = {f"{number:02}": bytes([number]) * 400_000 for number in range(9)}
        for name, body in bodies.items():
            await stored(of, document(name, body=body))
        assert {one.id: one.body for one in await of.page(ACCOUNT, "user", limit=8)} == dict(list(bodies.items())[:8])
