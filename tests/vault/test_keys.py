"""Master keys: where they come from, and what is refused."""

from __future__ import annotations

import base64
import multiprocessing
import os
import stat

import pytest

from flowrunner.errors import ConfigurationError, StoreRefused
from flowrunner.stores.memory.documents import MemoryDocuments
from flowrunner.testing.clock import ManualClock
from flowrunner.vault.keys import KeySource, MasterKey, parse_keys, read_key_file
from flowrunner.vault.vault import Vault

RAW = bytes(range(32))
KEY = MasterKey(RAW, "here")


@pytest.mark.parametrize(
    "text", [RAW.hex(), RAW.hex().upper(), base64.b64encode(RAW).decode(), base64.urlsafe_b64encode(RAW).decode().rstrip("="), f"# mine\n {RAW.hex()}  # key\n"]
)
def test_spellings(text):
    """Hex and base64 in their usual spellings are the same key."""
    assert parse_keys(text, "here").current == KEY


def test_several():
    """The first is the current one; a repeated one counts once."""
    keys = parse_keys(f"{'11' * 32}, {RAW.hex()}\n{'11' * 32}", "here")
    assert keys.current.secret == b"\x11" * 32
    assert keys.older == (KEY,)
    assert keys.find(KEY.id) == KEY


@pytest.mark.parametrize("text", ["", "# nothing", "short", "aa" * 31, "aa" * 33, "ключ", "!" * 44])
def test_refused(text):
    """What is no key is refused, and not repeated in the message."""
    with pytest.raises(ConfigurationError) as refused:
        parse_keys(text, "FLOWRUNNER_MASTER_KEY")
    assert "FLOWRUNNER_MASTER_KEY" in str(refused.value)
    assert "openssl rand" in str(refused.value)
    assert not text or text.startswith("#") or text not in str(refused.value)


def test_a_key_is_not_shown():
    """Neither repr has the key in it; the id is stable."""
    assert RAW.hex() not in repr(KEY)
    assert "\\x01" not in repr(KEY)
    assert KEY.id == "39cb400401ee2396"


def test_own_file(tmp_path):
    """The file is made once, 0600 in a folder of 0700, and holds the key."""
    path = tmp_path / "new" / "master.key"
    source = KeySource(randomness=os.urandom, own_file=path)
    assert source.load() is None
    made = source.create()
    assert source.create() == made
    assert source.load() == made
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    added = source.add()
    assert added.older == (made.current,)
    assert KeySource(randomness=os.urandom, own_file=path).load() == added
    assert sorted(file.name for file in path.parent.iterdir()) == ["master.key", "master.key.lock"]


def test_a_file_does_not_grow_for_ever(tmp_path):
    """The last 100 keys are kept: their backups can be opened."""
    source = KeySource(randomness=os.urandom, own_file=tmp_path / "master.key")
    made = [source.add().current for _ in range(105)]
    found = source.load()
    assert [key.id for key in (found.current, *found.older)] == [key.id for key in made[:4:-1]]


def _create(path, sender):
    sender.send(KeySource(randomness=os.urandom, own_file=path).create().current.id)


def test_many_processes_make_one_file(tmp_path):
    """Processes that make the same file at once all have the same key."""
    context = multiprocessing.get_context("fork")
    pipes = [context.Pipe(duplex=False) for _ in range(8)]
    processes = [context.Process(target=_create, args=(tmp_path / "master.key", sender)) for _, sender in pipes]
    for process in processes:
        process.start()
    ids = {receiver.recv() for receiver, _ in pipes}
    for process in processes:
        process.join()
    assert len(ids) == 1
    assert read_key_file(tmp_path / "master.key").current.id in ids


@pytest.mark.parametrize(
    ("mode", "named", "fits"),
    [(0o600, False, True), (0o400, False, True), (0o640, False, False), (0o604, True, False), (0o440, True, True), (0o660, True, False)],
)
def test_modes(tmp_path, mode, named, fits):
    """A key that others can read is none; the group of a file that the operator named may read it."""
    path = tmp_path / "key"
    path.write_text(RAW.hex())
    path.chmod(mode)
    if fits:
        assert read_key_file(path, named=named).current.secret == RAW
        return
    with pytest.raises(ConfigurationError, match="chmod 600"):
        read_key_file(path, named=named)


def test_no_file():
    """A file that the operator named must be there; a folder is no file."""
    from pathlib import Path

    with pytest.raises(ConfigurationError, match="not there"):
        KeySource(randomness=os.urandom, file=Path("/nowhere/key")).load()


async def started(documents, source):
    vault = Vault(documents, source, clock=ManualClock(), randomness=os.urandom)
    await vault.start()
    return vault


async def test_the_key_is_lost(tmp_path):
    """A store whose key is missing refuses to start, says which key since when and what to restore, and makes no new one."""
    documents = MemoryDocuments(ManualClock())
    path = tmp_path / "master.key"
    vault = await started(documents, KeySource(randomness=os.urandom, own_file=path))
    await vault.secrets.set("111111111111", "name", "value")
    key = path.read_text()
    path.unlink()
    for source in (KeySource(randomness=os.urandom, own_file=path), KeySource(randomness=os.urandom, value="11" * 32)):
        with pytest.raises(StoreRefused) as refused:
            await started(documents, source)
        assert parse_keys(key, "here").current.id in refused.value.message
        assert "2023-11-14T22:13:20" in refused.value.message
        assert source.place in refused.value.remedy
    assert not path.exists()
    path.write_text(key)
    path.chmod(0o600)
    again = await started(documents, KeySource(randomness=os.urandom, own_file=path))
    assert (await again.secrets.get("111111111111", "name")).data == "value"
