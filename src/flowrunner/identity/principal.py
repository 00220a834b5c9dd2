"""Who is calling: what the rest of FlowRunner knows of a caller, and nothing more."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller: the account it acts in, and what it may do; both from its credential only.

    `name` (``user:ada``, ``token:ab12``, ``access-key:AKIA...``) is for the audit log. `user` is the id of the user whose
    credential it is, `credential` that of the credential; both empty in development and for foreign issuers.
    `expires_at` is milliseconds since 1970 UTC.
    """

    account: str
    permissions: frozenset[str]
    name: str = ""
    user: str = ""
    credential: str = ""
    expires_at: int | None = None


@dataclass(frozen=True, slots=True)
class Actor:
    """On whose behalf, from where and in which request something is changed: the audit log's who."""

    name: str
    address: str = ""
    request: str = ""


SERVER = Actor("server")
