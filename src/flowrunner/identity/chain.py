"""The chain of an audit log, as a pure check: each entry holds the hash of the one before it.

Nothing here asks a store or a server, so whoever holds the entries checks them: the server, and the command that does not take
the server's word for it (OWASP ASVS 5.0, 16.4.2).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec

START = "0" * 64


class AuditEntry(msgspec.Struct, kw_only=True, frozen=True):
    """One entry. `result` is ``ok``, ``denied`` or ``failed``; `previous` and `hash` are the links of the chain, 64 hex digits."""

    seq: int
    at: int
    who: str
    address: str
    request: str
    action: str
    target: str
    result: str
    detail: str = ""
    previous: str = START
    hash: str = ""

    def sealed(self) -> AuditEntry:
        """The entry with its hash."""
        return msgspec.structs.replace(self, hash=digest(self))


class AuditHead(msgspec.Struct, kw_only=True, frozen=True):
    """The last link of a chain."""

    seq: int = 0
    hash: str = START


class Fault(msgspec.Struct, frozen=True):
    """What is wrong with a chain: at which entry, and why."""

    seq: int
    message: str


def digest(entry: AuditEntry) -> str:
    """The hash of an entry: SHA-256 of its JSON, keys in order, without the hash itself."""
    return hashlib.sha256(msgspec.json.encode(msgspec.structs.replace(entry, hash=""), order="sorted")).hexdigest()


class Chain:
    """Takes the entries of a log in order and finds the first fault.

    `known` are hashes that entries must have, by number: that of the head, and what somebody has written down elsewhere.
    """

    def __init__(self, known: Mapping[int, str]) -> None:
        self._known = {seq: value for seq, value in known.items() if seq > 0}
        self.last = AuditHead()
        self.fault: Fault | None = None

    def add(self, entry: AuditEntry) -> None:
        """Take the next entry."""
        if self.fault is None:
            self.fault = self._fault(entry)
            self.last = AuditHead(seq=entry.seq, hash=entry.hash)

    def end(self) -> Fault | None:
        """The first fault, now that there are no more entries; None for a chain that is whole."""
        if self.fault is None and (missing := max(self._known, default=0)) > self.last.seq:
            self.fault = Fault(self.last.seq + 1, f"The entry is missing; the last should be {missing} or later.")
        return self.fault

    def _fault(self, entry: AuditEntry) -> Fault | None:
        if entry.seq != self.last.seq + 1:
            return Fault(self.last.seq + 1, f"The entry is missing; the next is {entry.seq}.")
        if entry.previous != self.last.hash:
            return Fault(entry.seq, "The entry does not follow the one before it.")
        if entry.hash != digest(entry):
            return Fault(entry.seq, "The entry was altered.")
        if self._known.get(entry.seq, entry.hash) != entry.hash:
            return Fault(entry.seq, "The entry is not the one that stood here: the chain was made anew.")
        return None
