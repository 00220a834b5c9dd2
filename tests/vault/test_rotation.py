"""Rotation of keys: broken off at every write, beside writers, by two servers."""

from __future__ import annotations

import asyncio
import os

import pytest

from flowrunner.errors import ConfigurationError, DocumentConflict, SealBroken, StoreRefused, StoreUnavailable, UnknownKey
from flowrunner.ports.documents import SYSTEM, Document, DocumentStore, Put
from flowrunner.stores.memory.documents import MemoryDocuments
from flowrunner.testing.clock import ManualClock
from flowrunner.vault.keys import KeySource
from flowrunner.vault.vault import Vault

ONE, TWO = "111111111111", "222222222222"
COUNT = 8  # secrets of each account


class Killed(BaseException):
    """The process has ended at this write."""


class Breaking(DocumentStore):
    """A store whose process ends at the nth write: before it, after it, or with an answer that is lost."""

    def __init__(self, inner, at, how="before"):
        self.inner, self.left, self.how, self.before_write = inner, at, how, None

    async def get(self, account, kind, id):  # noqa: A002
        await asyncio.sleep(0)
        return await self.inner.get(account, kind, id)

    async def find(self, alias):
        return await self.inner.find(alias)

    async def page(self, *words, **options):
        await asyncio.sleep(0)
        return await self.inner.page(*words, **options)

    async def write(self, changes):
        await asyncio.sleep(0)
        if self.before_write is not None:
            await self.before_write(changes)
        self.left -= 1
        if self.left == 0 and self.how == "before":
            raise Killed
        await self.inner.write(changes)
        if self.left == 0 and self.how == "after":
            raise Killed
        if self.left == 0:
            raise StoreUnavailable


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def documents(clock):
    return MemoryDocuments(clock)


@pytest.fixture
def source(tmp_path):
    return KeySource(randomness=os.urandom, own_file=tmp_path / "master.key")


def vault_on(documents, source, clock):
    return Vault(documents, source, clock=clock, randomness=os.urandom)


async def started(documents, source, clock):
    vault = vault_on(documents, source, clock)
    await vault.start()
    return vault


async def filled(vault):
    for account in (ONE, TWO):
        for n in range(COUNT):
            await vault.secrets.set(account, f"s{n}", f"{account} {n}")


async def all_readable(vault):
    for account in (ONE, TWO):
        assert [(await vault.secrets.get(account, f"s{n}")).data for n in range(COUNT)] == [f"{account} {n}" for n in range(COUNT)]


async def keys_of(documents, account):
    return [document.id for document in await documents.page(account, "data-key")]


async def masters_of(documents):
    vault = vault_on(documents, KeySource(randomness=os.urandom), ManualClock())
    return [key.id for key in (await vault.keyring.state()).ring.keys]


async def test_data_keys(documents, source, clock):
    """Every value is sealed under the new key, the old key is gone, other accounts are as they were."""
    vault = await started(documents, source, clock)
    await filled(vault)
    before = await keys_of(documents, ONE)
    other = await documents.page(TWO, "secret")
    report = await vault.rotation.rotate(ONE)
    assert (report.made, report.resealed, report.retired) == (1, COUNT, before)
    assert not set(before) & set(await keys_of(documents, ONE))
    assert await documents.page(TWO, "secret") == other
    await all_readable(vault)
    await all_readable(await started(documents, source, clock))


async def test_master_key(documents, source, clock):
    """The server makes a new master key, wraps every data key under it, and needs the old one no more."""
    vault = await started(documents, source, clock)
    await filled(vault)
    before, secrets = await masters_of(documents), await documents.page(ONE, "secret")
    report = await vault.rotation.rotate_master()
    assert (report.made, report.rewrapped, report.retired) == (1, 2, before)
    assert await documents.page(ONE, "secret") == secrets
    assert len(await masters_of(documents)) == 1
    newest = KeySource(randomness=os.urandom, value=source.load().current.secret.hex())
    await all_readable(await started(documents, newest, clock))
    old = KeySource(randomness=os.urandom, value=source.load().older[0].secret.hex())
    with pytest.raises(StoreRefused):
        await started(documents, old, clock)


@pytest.mark.parametrize("how", ["before", "after", "denied"])
@pytest.mark.parametrize("master", [False, True], ids=["data", "master"])
async def test_broken_off_at_every_write(tmp_path, clock, how, master):
    """Killed at any write, before or after it, every secret is readable; the next rotation finishes, with one key left."""
    at = 0
    while True:
        at += 1
        documents = MemoryDocuments(clock)
        source = KeySource(randomness=os.urandom, own_file=tmp_path / f"{at}.key")
        await filled(await started(documents, source, clock))
        breaking = Breaking(documents, at, how)
        vault = await started(breaking, source, clock)
        try:
            await (vault.rotation.rotate_master() if master else vault.rotation.rotate(ONE))
            ended = breaking.left > 0
        except (Killed, StoreUnavailable):
            ended = False
        again = await started(documents, source, clock)
        await all_readable(again)
        await again.rotation.resume()
        assert len(await keys_of(documents, ONE)) == 1
        assert len(await masters_of(documents)) == 1
        await (again.rotation.rotate_master() if master else again.rotation.rotate(ONE))
        await all_readable(await started(documents, source, clock))
        if ended:
            break
    assert at >= (4 if master else COUNT + 2)


@pytest.mark.parametrize("seed", range(5))
async def test_beside_writers_and_another_server(documents, source, clock, seed):
    """Two servers rotate while both write: what was answered is there, one data key and one master key are left."""
    servers = [await started(Breaking(documents, -1), source, clock) for _ in range(2)]
    written = {}

    async def write(vault, mine):
        for n in range(40):
            name = f"{mine}-{(n * 7 + seed) % 10}"
            await vault.secrets.set(ONE, name, f"{n}")
            written[name] = f"{n}"
            await vault.secrets.use(ONE, name)

    async def rotate(vault, *, master):
        for _ in range(4):
            await (vault.rotation.rotate_master() if master else vault.rotation.rotate(ONE))

    works = [write(vault, n) for n, vault in enumerate(servers * 2)]
    await asyncio.gather(*works, *(rotate(vault, master=False) for vault in servers), rotate(servers[seed % 2], master=True))
    for vault in (*servers, await started(documents, source, clock)):
        for name, value in written.items():
            assert (await vault.secrets.get(ONE, name)).data == value
    await servers[0].rotation.resume()
    assert len(await keys_of(documents, ONE)) == 1
    assert len(await masters_of(documents)) == 1


async def test_a_writer_that_was_away(documents, source, clock):
    """A value sealed under a key before its rotation cannot be stored after it: the write conflicts, and is made again."""
    breaking = Breaking(documents, -1)
    slow, quick = await started(breaking, source, clock), await started(documents, source, clock)
    await filled(quick)
    rotated = []

    async def rotate_first(changes):
        if not rotated:
            rotated.append(await quick.rotation.rotate(ONE))

    breaking.before_write = rotate_first
    await slow.secrets.set(ONE, "late", "value")
    assert len(rotated) == 1
    assert (await quick.secrets.get(ONE, "late")).data == "value"
    sealed = await slow.sealer.seal(ONE, "x", 1, b"x")
    await quick.rotation.rotate(ONE)
    with pytest.raises(DocumentConflict):
        await documents.write([await slow.sealer.unchanged(ONE, sealed)])


async def test_a_server_without_the_new_master_key(documents, tmp_path, clock):
    """It goes on with what it has unwrapped, refuses what it cannot do with the key's name, and never seals under the old master key."""
    old = os.urandom(32).hex()
    new = os.urandom(32).hex()
    behind = await started(documents, KeySource(randomness=os.urandom, value=old), clock)
    await filled(behind)
    ahead = await started(documents, KeySource(randomness=os.urandom, value=f"{new} {old}"), clock)
    assert (await ahead.rotation.rotate_master()).rewrapped == 2
    assert (await behind.secrets.get(ONE, "s1")).data == f"{ONE} 1"
    for account in (ONE, "333333333333"):
        with pytest.raises(UnknownKey) as refused:
            await behind.secrets.set(account, "s1", "new")
        assert (await masters_of(documents))[0] in refused.value.message
    assert (await ahead.secrets.get(ONE, "s1")).data == f"{ONE} 1"
    with pytest.raises(StoreRefused):
        await started(documents, KeySource(randomness=os.urandom, value=old), clock)


async def test_a_key_that_arrives_later(documents, source, clock):
    """Servers that share a key file take a new key from it without a restart."""
    one, two = await started(documents, source, clock), await started(documents, source, clock)
    await filled(one)
    await one.rotation.rotate_master()
    await two.secrets.set(ONE, "s0", f"{ONE} 0")
    await two.secrets.set("333333333333", "new", "account")
    await all_readable(two)


async def test_keys_of_the_operator_are_not_made_here(documents, clock):
    """Where the keys are stated, rotating without a new one says what to do, and changes nothing."""
    vault = await started(documents, KeySource(randomness=os.urandom, value=os.urandom(32).hex()), clock)
    before = await masters_of(documents)
    with pytest.raises(ConfigurationError, match="cannot make another"):
        await vault.rotation.rotate_master()
    assert await masters_of(documents) == before


async def test_swapped_data_keys(documents, source, clock):
    """A data key in another account's place, or under another id, does not unwrap."""
    await filled(await started(documents, source, clock))
    [one], [two] = await documents.page(ONE, "data-key"), await documents.page(TWO, "data-key")
    from dataclasses import replace

    await documents.write([Put(replace(one, body=two.body))])
    vault = await started(documents, source, clock)
    with pytest.raises(SealBroken):
        await vault.secrets.get(ONE, "s0")
    assert (await vault.secrets.get(TWO, "s0")).data == f"{TWO} 0"


async def test_a_store_without_its_ring(documents, source, clock):
    """Data keys without a key ring are no new store: it is refused."""
    await filled(await started(documents, source, clock))
    from flowrunner.ports.documents import Remove

    ring = await documents.get(SYSTEM, "keyring", "keyring")
    await documents.write([Remove(account=SYSTEM, kind="keyring", id="keyring", version=ring.version)])
    with pytest.raises(StoreRefused, match="not whole"):
        await started(documents, source, clock)


async def test_an_erased_account(documents, source, clock):
    """An account whose secrets and keys were erased leaves the register; one that gets its number later begins anew."""
    from flowrunner.ports.documents import Remove

    vault = await started(documents, source, clock)
    await filled(vault)
    for kind in ("secret", "data-key"):
        for document in await documents.page(ONE, kind):
            await documents.write([Remove(account=ONE, kind=kind, id=document.id, version=document.version)])
    other = await started(documents, source, clock)
    await other.secrets.set(ONE, "new", "owner")
    assert (await other.secrets.get(ONE, "new")).data == "owner"
    for document in [*await documents.page(ONE, "data-key"), *await documents.page(ONE, "secret")]:
        await documents.write([Remove(account=ONE, kind=document.kind, id=document.id, version=document.version)])
    report = await vault.rotation.rotate_all()
    assert (report.made, report.resealed) == (1, COUNT)
    assert [account async for account, _ in vault.keyring.accounts()] == [TWO]
    assert (await vault.rotation.rotate(ONE)).made == 1


async def broken_off(documents, source, clock):
    """Both accounts have a rotation that is not finished, and so has the master key."""
    vault = await started(documents, source, clock)
    await filled(vault)
    state = await vault.keyring.state()
    for account in (ONE, TWO):
        with pytest.raises(Killed):
            await (await started(Breaking(documents, 2), source, clock)).rotation.rotate(account)
        assert len(await keys_of(documents, account)) == 2
    with pytest.raises(Killed):
        await (await started(Breaking(documents, 2), source, clock)).rotation.rotate_master()
    assert len((await vault.keyring.state()).ring.keys) == len(state.ring.keys) + 1


async def test_what_cannot_be_finished_holds_up_no_other(documents, source, clock):
    """One secret that was moved: its account keeps both data keys and is reported, the other account and the master key are finished."""
    await broken_off(documents, source, clock)
    secret, other = [await documents.get(ONE, "secret", f"s{n}") for n in (COUNT - 1, COUNT - 2)]
    moved = Document(account=ONE, kind="secret", id=secret.id, body=other.body, aliases=secret.aliases, version=secret.version)
    await documents.write([Put(moved)])
    again = await started(documents, source, clock)
    report = await again.rotation.resume()
    assert list(report.failures) == [ONE]
    assert isinstance(report.failures[ONE], SealBroken)
    assert len(await keys_of(documents, ONE)) == 2
    assert len(await keys_of(documents, TWO)) == 1
    assert len(await masters_of(documents)) == 1
    with pytest.raises(SealBroken):
        await again.rotation.rotate_all()
    assert [(await again.secrets.get(TWO, f"s{n}")).data for n in range(COUNT)] == [f"{TWO} {n}" for n in range(COUNT)]


async def test_a_broken_data_key_keeps_the_master_key(documents, source, clock):
    """The other data keys are wrapped anew; the old master key stays in the ring, for it may be what the broken one needs."""
    await broken_off(documents, source, clock)
    document, *_ = await documents.page(ONE, "data-key")
    whole = document.body
    altered = whole.replace(b'"wrapped":"', b'"wrapped":"A')
    await documents.write([Put(Document(account=ONE, kind="data-key", id=document.id, body=altered, version=document.version))])
    report = await (await started(documents, source, clock)).rotation.resume()
    assert SYSTEM in report.failures
    assert TWO not in report.failures
    assert len(await keys_of(documents, TWO)) == 1
    assert len(await masters_of(documents)) == 2
    again = (await documents.get(ONE, "data-key", document.id)).version
    await documents.write([Put(Document(account=ONE, kind="data-key", id=document.id, body=whole, version=again))])
    healed = await started(documents, source, clock)
    assert (await healed.rotation.resume()).failures == {}
    assert len(await keys_of(documents, ONE)) == len(await masters_of(documents)) == 1
    await all_readable(healed)


async def test_without_a_store_nothing_is_finished(documents, source, clock):
    """That is no matter of one account."""
    await broken_off(documents, source, clock)
    with pytest.raises(StoreUnavailable):
        await (await started(Breaking(documents, 1, "lost"), source, clock)).rotation.resume()
