"""The chain of an audit log: whatever is done to its entries is found."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowrunner.identity.chain import START, AuditEntry, Chain, digest


def log(length, salt=""):
    """A log as the server writes it."""
    entries, previous = [], START
    for seq in range(1, length + 1):
        entry = AuditEntry(
            seq=seq, at=1000 + seq, who=f"user:{seq}{salt}", address="192.0.2.1", request="r", action="test", target="t", result="ok", previous=previous
        ).sealed()
        entries.append(entry)
        previous = entry.hash
    return entries


def fault(entries, known=None):
    chain = Chain({} if known is None else known)
    for entry in entries:
        chain.add(entry)
    return chain.end()


@pytest.mark.parametrize("length", [0, 1, 2, 50])
def test_a_whole_chain(length):
    """Nothing is found where nothing was done."""
    entries = log(length)
    assert fault(entries, {entry.seq: entry.hash for entry in entries}) is None


@given(st.integers(1, 12), st.data())
def test_every_change_is_found(length, data):
    """An entry with any of its fields changed, removed, put twice, swapped or put in: the first fault is at it or just behind."""
    entries = log(length)
    head = {length: entries[-1].hash}
    place = data.draw(st.integers(0, length - 1))
    match data.draw(st.sampled_from(["edit", "edit and seal", "remove", "repeat", "swap", "insert", "truncate"])):
        case "edit":
            name = data.draw(st.sampled_from([field for field in AuditEntry.__struct_fields__ if field != "hash"]))
            old = getattr(entries[place], name)
            entries[place] = msgspec.structs.replace(entries[place], **{name: old + 1 if isinstance(old, int) else old + "x"})
        case "edit and seal":
            entries[place] = msgspec.structs.replace(entries[place], who="nobody").sealed()
        case "remove":
            del entries[place]
        case "repeat":
            entries.insert(place, entries[place])
        case "swap":
            entries.append(entries.pop(0))
            if length == 1:
                entries = []
        case "insert":
            entries.insert(place, log(length + 1, "other")[place])
        case "truncate":
            del entries[place:]
    found = fault(entries, head)
    assert found is not None
    assert found.seq <= length + 1


def test_a_new_chain_is_found_by_what_was_written_down():
    """Who can write the database can make a whole other chain; not one with the hash that somebody kept elsewhere."""
    old, new = log(10), log(12, "forged")
    assert fault(new) is None
    assert fault(new, {10: old[9].hash}).seq == 10
    assert fault(old[:7], {10: old[9].hash}).seq == 8


def test_the_hash_is_of_everything_but_itself():
    """And stays what it is: logs are checked years later."""
    entry = log(1)[0]
    assert digest(entry) == digest(msgspec.structs.replace(entry, hash="x")) == entry.hash
    assert entry.hash == "e5038e936f0f11f07ad2fcaf3441f1972eab88a12ad425c3aa086b4e95a150c7"
