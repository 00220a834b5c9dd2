"""Secrets on a store of documents: what the service promises, whatever the store."""

from __future__ import annotations

import asyncio
import itertools
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from flowrunner.clock import DAY
from flowrunner.errors import Conflict, DocumentConflict, InvalidSecret, NotFound, SealBroken, StoreRefused, UnknownKey
from flowrunner.ports.documents import Change, Document, DocumentStore, Put
from flowrunner.testing.clock import ManualClock
from flowrunner.vault.keys import KeySource
from flowrunner.vault.secret import SECRET, document_id
from flowrunner.vault.secrets import SecretQuery, StructuredChange
from flowrunner.vault.types import Schema, SchemaField
from flowrunner.vault.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowrunner.jsonvalue import JSONObject

ONE, TWO = "111111111111", "222222222222"
NAMES = ("API_KEY", "a/b/c", "with blank", "ключ-密钥-🔑", "~tilde%7E", "#?&=+;:@!$'()*,[]", "x" * 256, "密" * 256, "密" * 255 + "钥")
TYPED: dict[str, JSONObject] = {
    "general": {"anything": 1},
    "custom": {"anything": {"deep": [1, {"er": "x"}]}},
    "oauth": {"client_id": "id", "client_secret": "cs", "token_url": "https://t.example", "scopes": ["a"], "token_expires_at": "2026-01-02T03:04:05Z"},
    "api_key": {"key": "k-123", "header_name": "X-Key", "rate_limit": {"requests_per_second": 5}},
    "database": {"type": "postgres", "host": "db", "username": "u", "password": "p-123", "port": 5432},
    "jwt": {"token": "t.t.t", "claims": {"sub": "x"}},
}


async def vault_of(documents: DocumentStore, clock: ManualClock, source: KeySource | None = None) -> Vault:
    """A started vault on a store."""
    vault = Vault(documents, source or KeySource(randomness=os.urandom), clock=clock, randomness=os.urandom)
    await vault.start()
    return vault


@pytest.mark.asyncio
class SecretStoreConformance:
    """A store's tests bring a fixture `documents`: the empty documents of a started store."""

    @pytest.fixture
    def clock(self) -> ManualClock:
        """Time that the test moves."""
        return ManualClock()

    @pytest.fixture
    async def vault(self, documents: DocumentStore, clock: ManualClock) -> Vault:
        """The vault under test."""
        return await vault_of(documents, clock)

    @pytest.mark.parametrize("name", NAMES)
    async def test_any_name_and_text_come_back(self, vault: Vault, name: str) -> None:
        """Unicode, long names and special characters; an empty text and 64 KiB."""
        for value in ("", "s3cret", '\0\n"\\ 密🔑', "x" * 65_536):
            await vault.secrets.set(ONE, name, value)
            assert (await vault.secrets.get(ONE, name)).data == value
        assert [info.name for info in await vault.secrets.infos(ONE)] == [name]

    @pytest.mark.parametrize("name", ["", "x" * 257, " x", "x ", "a\nb", "a\0b", "a\ud800", "a{b", "\u200b"])
    async def test_refused_names(self, vault: Vault, name: str) -> None:
        """What nobody could see is no name."""
        with pytest.raises(InvalidSecret):
            await vault.secrets.set(ONE, name, "value")

    async def test_too_long(self, vault: Vault) -> None:
        """64 KiB of UTF-8 is the most, for texts and for fields."""
        for value in ("x" * 65_537, "密" * 21_846, "\ud800"):
            with pytest.raises(InvalidSecret):
                await vault.secrets.set(ONE, "long", value)
        with pytest.raises(InvalidSecret):
            await vault.secrets.set_structured(ONE, "long", StructuredChange(data={"a": "x" * 65_536}))

    async def test_nothing_in_clear(self, vault: Vault, documents: DocumentStore) -> None:
        """No document holds a value, a field's name or a schema."""
        await vault.secrets.set(ONE, "plain", "canary-value")
        schema = Schema(fields={"canary-field": SchemaField(pattern="canary.*")})
        await vault.secrets.set_structured(ONE, "fields", StructuredChange(data={"canary-field": "canary-value"}, schema=schema))
        for name in ("plain", "fields"):
            stored = await documents.get(ONE, SECRET, name)
            assert stored is not None
            assert b"canary" not in stored.body

    async def test_accounts_are_apart(self, vault: Vault) -> None:
        """One account's names and values are nothing to another."""
        await vault.secrets.set(ONE, "name", "of one")
        assert await vault.secrets.infos(TWO) == []
        for act in (vault.secrets.get(TWO, "name"), vault.secrets.delete(TWO, "name"), vault.secrets.info(TWO, "name")):
            with pytest.raises(NotFound):
                await act
        await vault.secrets.set(TWO, "name", "of two")
        assert (await vault.secrets.get(ONE, "name")).data == "of one"

    async def test_versions_and_times(self, vault: Vault, clock: ManualClock) -> None:
        """The version counts values; metadata change it not. Times are those of the clock."""
        first = await vault.secrets.set(ONE, "name", "a")
        clock.jump(5)
        second = await vault.secrets.set(ONE, "name", "b", expected=1)
        third = await vault.secrets.describe(ONE, "name", StructuredChange(description="d", tags=["t", "t", "u"], expires_at=7))
        assert (first.version, second.version, third.version) == (1, 2, 2)
        assert (second.created_at, second.updated_at - first.updated_at) == (first.created_at, 5000)
        assert (third.description, third.tags, third.expires_at) == ("d", ("t", "u"), 7)
        assert (await vault.secrets.get(ONE, "name")).data == "b"

    async def test_modes(self, vault: Vault) -> None:
        """Create wants nothing there, replace wants something, `expected` wants exactly that version."""
        with pytest.raises(NotFound):
            await vault.secrets.set(ONE, "name", "a", mode="replace")
        await vault.secrets.set(ONE, "name", "a", mode="create")
        with pytest.raises(Conflict):
            await vault.secrets.set(ONE, "name", "b", mode="create")
        with pytest.raises(Conflict):
            await vault.secrets.set(ONE, "name", "b", expected=2)
        with pytest.raises(Conflict):
            await vault.secrets.set_structured(ONE, "name", StructuredChange(data={}))
        assert (await vault.secrets.get(ONE, "name")).data == "a"
        await vault.secrets.delete(ONE, "name")
        with pytest.raises(NotFound):
            await vault.secrets.get(ONE, "name")

    async def test_writers_at_once(self, vault: Vault) -> None:
        """Of those who expect the same version exactly one wins; those who expect none all get through, one after the other."""
        await vault.secrets.set(ONE, "name", "0")
        ends = await asyncio.gather(*(vault.secrets.set(ONE, "name", str(n), expected=1) for n in range(5)), return_exceptions=True)
        assert sorted(type(end).__name__ for end in ends) == ["Conflict"] * 4 + ["SecretInfo"]
        await asyncio.gather(*(vault.secrets.set(ONE, "name", str(n)) for n in range(5)))
        assert (await vault.secrets.info(ONE, "name")).version == 7

    @pytest.mark.parametrize("kind", TYPED)
    async def test_typed(self, vault: Vault, kind: str) -> None:
        """Each type keeps its fields; without a required one it is refused, with the place."""
        data = TYPED[kind]
        await vault.secrets.set_structured(ONE, kind, StructuredChange(type=kind, data=data))  # type: ignore[arg-type]
        assert (await vault.secrets.get(ONE, kind)).data == data
        if kind in ("general", "custom"):
            return
        first = next(iter(data))
        for broken, place in (({**data, first: 7}, first), ({name: data[name] for name in data if name != first}, first), ({**data, "od/d": 1}, "od~1d")):
            with pytest.raises(InvalidSecret) as refused:
                await vault.secrets.set_structured(ONE, kind, StructuredChange(data=broken))
            assert [pointer for pointer, _ in refused.value.faults] == [f"/data/{place}"]
        assert (await vault.secrets.get(ONE, kind)).data == data

    async def test_put_keeps_what_it_is_not_told(self, vault: Vault) -> None:
        """Parts that are not set stay, None clears, data is replaced as a whole."""
        whole = StructuredChange(type="custom", description="d", tags=["t"], expires_at=9, data={"a": 1, "b": 2}, schema=Schema(required=("a",)))
        await vault.secrets.set_structured(ONE, "s", whole)
        kept = await vault.secrets.set_structured(ONE, "s", StructuredChange(description="e"))
        assert (kept.type, kept.tags, kept.expires_at, kept.version) == ("custom", ("t",), 9, 1)
        changed = await vault.secrets.set_structured(ONE, "s", StructuredChange(data={"a": 3}, expires_at=None))
        secret = await vault.secrets.get(ONE, "s")
        assert (secret.data, secret.schema, changed.expires_at, changed.version) == ({"a": 3}, Schema(required=("a",)), None, 2)
        with pytest.raises(InvalidSecret):
            await vault.secrets.set_structured(ONE, "s", StructuredChange(data={"b": 3}))
        await vault.secrets.set_structured(ONE, "s", StructuredChange(data={"b": 3}, schema=None))

    async def test_field_paths(self, vault: Vault) -> None:
        """Dots go into objects and arrays, also of a simple secret that holds JSON; what is not there is not found."""
        await vault.secrets.set_structured(ONE, "s", StructuredChange(data={"a": {"b": [{"c": 5}]}}))
        await vault.secrets.set(ONE, "j", '{"user": {"name": "ada"}}')
        assert (await vault.secrets.get(ONE, "s")).at("a.b.0.c") == 5
        assert (await vault.secrets.get(ONE, "j")).at("user.name") == "ada"
        for path in ("a.x", "a.b.1", "a.b.-1", "a.b.0.c.d", "", "."):
            with pytest.raises(NotFound):
                (await vault.secrets.get(ONE, "s")).at(path)

    async def test_search(self, vault: Vault, clock: ManualClock) -> None:
        """Every condition holds; pages by limit and offset; simple secrets only when asked for."""
        now = clock.now()
        await vault.secrets.set(ONE, "simple", "x")
        for n, tags in enumerate((["a"], ["a", "b"], ["b"])):
            change = StructuredChange(tags=tags, description=f"Number {n}", expires_at=now + n * DAY, data={}, type="custom" if n else "general")
            await vault.secrets.set_structured(ONE, f"s{n}", change)
        clock.jump(3600)
        await vault.secrets.use(ONE, "s1")

        async def names(**conditions: object) -> str:
            return " ".join(info.name for info in await vault.secrets.search(ONE, SecretQuery(**conditions)))  # type: ignore[arg-type]

        assert await names() == "s0 s1 s2"
        assert await names(structured_only=False) == "s0 s1 s2 simple"
        assert await names(type="custom") == "s1 s2"
        assert await names(tags=("a", "b")) == "s1"
        assert await names(description="NUMBER 2") == "s2"
        assert await names(expiring_within=DAY) == "s0 s1"
        assert await names(last_used_before=clock.now()) == "s0 s2"
        assert await names(limit=1, offset=1) == "s1"

    async def test_last_used(self, vault: Vault, clock: ManualClock, documents: DocumentStore) -> None:
        """Use is noted at most once a minute; looking at a secret is no use."""
        await vault.secrets.set(ONE, "name", "x")
        await vault.secrets.get(ONE, "name")
        assert (await vault.secrets.info(ONE, "name")).last_used is None
        await vault.secrets.use(ONE, "name")
        first = await documents.get(ONE, SECRET, "name")
        clock.jump(59)
        await vault.secrets.use(ONE, "name")
        assert await documents.get(ONE, SECRET, "name") == first
        clock.jump(1)
        await vault.secrets.use(ONE, "name")
        assert (await vault.secrets.info(ONE, "name")).last_used == clock.now()

    async def test_reveal(self, vault: Vault) -> None:
        """A task gets a value and what must be hidden of it; a host is no secret, a password is, a schema decides otherwise."""
        await vault.secrets.set(ONE, "text", "value")
        schema = Schema(fields={"open": SchemaField(sensitive=False)})
        await vault.secrets.set_structured(ONE, "db", StructuredChange(type="database", data={**TYPED["database"], "open": "o"}, schema=schema))
        found = [await vault.secrets.reveal(ONE, *asked) for asked in (("text",), ("db",), ("db", "password"), ("db", "host"), ("db", "open"))]
        assert [one.value for one in found] == ["value", {**TYPED["database"], "open": "o"}, "p-123", "db", "o"]
        assert [one.hidden for one in found] == [("value",), ("p-123",), ("p-123",), (), ()]
        assert "value" not in repr(found[0])

    async def test_swapped_rows(self, vault: Vault, documents: DocumentStore) -> None:
        """A sealed value moved between accounts, names or versions does not open, nor one with any byte altered."""
        for account, name, value in ((ONE, "a", "1"), (ONE, "b", "2"), (TWO, "a", "3")):
            await vault.secrets.set(account, name, value)
        old = await documents.get(ONE, SECRET, "a")
        await vault.secrets.set(ONE, "a", "4")
        rows = [await documents.get(account, SECRET, name) for account, name in ((ONE, "a"), (ONE, "b"), (TWO, "a"))]
        assert old is not None
        bodies = [old.body.replace(b'"version":1', b'"version":2'), *(row.body for row in rows if row is not None)]
        refused = 0
        for target, body in itertools.product(rows, bodies):
            assert target is not None
            if body == target.body:
                continue
            row = await documents.get(target.account, SECRET, target.id)
            assert row is not None
            own_name = b'"name":"' + target.id.encode() + b'"'
            for altered in (body, body.replace(b'"name":"a"', own_name).replace(b'"name":"b"', own_name)):
                await documents.write([Put(replace(row, body=altered))])
                with pytest.raises((SealBroken, UnknownKey)):
                    await vault.secrets.get(target.account, target.id)
                row = await documents.get(target.account, SECRET, target.id)
                assert row is not None
                refused += 1
            await documents.write([Put(replace(row, body=target.body))])
        assert refused == 18

    async def test_audited(self, vault: Vault, documents: DocumentStore) -> None:
        """Changes that ride along are in the same write: all or nothing; a conflict about them is tried again."""
        asked = 0

        async def write(changes: Sequence[Change]) -> None:
            nonlocal asked
            asked += 1
            entry = Document(account=ONE, kind="audit", id=f"{asked:016d}", body=b"entry")
            if asked == 1:
                await documents.write([Put(entry)])  # somebody is quicker
            await documents.write([*changes, Put(entry)])

        await vault.secrets.set(ONE, "name", "x", write=write)
        assert asked == 2
        await vault.secrets.describe(ONE, "name", StructuredChange(description="d"), write=write)
        await vault.secrets.delete(ONE, "name", write=write)
        assert len(await documents.page(ONE, "audit")) == 4

    async def test_servers_at_once(self, documents: DocumentStore, clock: ManualClock) -> None:
        """Of two servers with different new keys that start at once on an empty store, one starts; the other says what to do."""
        ends = await asyncio.gather(*(vault_of(documents, clock) for _ in range(2)), return_exceptions=True)
        assert sorted(type(end).__name__ for end in ends) == ["StoreRefused", "Vault"]
        for end in ends:
            if isinstance(end, StoreRefused):
                assert "in use since 20" in end.message
                assert "copy it" in str(end.remedy)

    async def test_first_data_key_at_once(self, documents: DocumentStore, clock: ManualClock) -> None:
        """Servers that seal an account's first secret at once agree on its data key."""
        source = KeySource(randomness=os.urandom, value=os.urandom(32).hex())
        vaults = [await vault_of(documents, clock, source) for _ in range(3)]
        await asyncio.gather(*(vault.secrets.set(ONE, f"s{n}", str(n)) for n, vault in enumerate(vaults)))
        assert len(await documents.page(ONE, "data-key")) == 1
        for vault in vaults:
            assert [(await vault.secrets.get(ONE, f"s{n}")).data for n in range(3)] == ["0", "1", "2"]

    async def test_a_stale_document(self, vault: Vault, documents: DocumentStore) -> None:
        """The id of a document is made of the name alone, and no two names share one."""
        assert len({document_id(name) for name in NAMES}) == len(NAMES)
        await vault.secrets.set(ONE, "name", "x")
        with pytest.raises(DocumentConflict):
            await documents.write([Put(Document(account=ONE, kind=SECRET, id="name", body=b"{}"))])
