"""Passwords: argon2id (RFC 9106) beside the event loop, as many at a time as there are threads for them.

OWASP ASVS 5.0, 11.4.2. The parameters stand in each hash; one made with others is made anew at the next log-in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from typing import TypeVar

import argon2

from flowrunner.errors import InvalidDocument, Overloaded

Result = TypeVar("Result")

THREADS = 2
WAITING = 32  # more than these are turned away: each costs 64 MiB and a tenth of a second
SHORTEST, LONGEST = 8, 512
SHORTEST_COMMON = 15  # from here on nobody asks whether it is a common one
_COMMON = frozenset(
    [
        "password",
        "password1",
        "password12",
        "password123",
        "passw0rd",
        "p@ssw0rd",
        "p@ssword",
        "12345678",
        "123456789",
        "1234567890",
        "123123123",
        "11111111",
        "00000000",
        "87654321",
        "88888888",
        "qwertyui",
        "qwertyuiop",
        "qwerty123",
        "qwerty12",
        "1q2w3e4r",
        "1q2w3e4r5t",
        "1qaz2wsx",
        "zaq12wsx",
        "asdfghjk",
        "asdfghjkl",
        "zxcvbnm1",
        "iloveyou",
        "iloveyou1",
        "sunshine",
        "sunshine1",
        "princess",
        "princess1",
        "football",
        "football1",
        "baseball",
        "baseball1",
        "superman",
        "superman1",
        "trustno1",
        "letmein1",
        "letmein12",
        "welcome1",
        "welcome12",
        "welcome123",
        "whatever",
        "computer",
        "michelle",
        "jennifer",
        "jessica1",
        "starwars",
        "corvette",
        "mercedes",
        "abcd1234",
        "abc12345",
        "abcdefgh",
        "a1b2c3d4",
        "aaaaaaaa",
        "admin123",
        "admin1234",
        "administrator",
        "changeme",
        "changeme1",
        "changeme123",
        "default1",
        "master12",
        "monkey12",
        "dragon12",
        "shadow12",
        "internet",
        "flowrunner",
        "flowrunner1",
        "flowrunner123",
    ]
)


def check_password(password: str, username: str) -> None:
    """Refuse what is guessed first; raises InvalidDocument.

    Length is what counts (NIST SP 800-63B 3.1.1): 8 characters, and below 15 none of the usual ones.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise InvalidDocument(f"A password has {SHORTEST} to {LONGEST} characters.", pointer="/password")
    plain = password.casefold()
    if len(password) < SHORTEST_COMMON and (plain in _COMMON or plain == username.casefold() or len(set(plain)) < 4):
        raise InvalidDocument("This password is among the first that are tried.", pointer="/password", remedy="Take a longer one: a few words will do.")


class Passwords:
    """Makes and checks hashes. `hasher` is argon2-cffi's, with its defaults (RFC 9106's second recommendation) unless given."""

    def __init__(self, hasher: argon2.PasswordHasher | None = None) -> None:
        self._hasher = hasher or argon2.PasswordHasher()
        self._threads: ThreadPoolExecutor | None = None
        self._waiting = 0
        self._nobody: str | None = None

    async def start(self, stack: AsyncExitStack) -> None:
        """Make the threads; they end with `stack`."""
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="passwords")
        stack.callback(self._threads.shutdown, wait=False, cancel_futures=True)

    async def hash(self, password: str) -> str:
        """The hash to keep. Raises Overloaded."""
        return await self._run(lambda: self._hasher.hash(password))

    async def check(self, kept: str | None, password: str) -> bool:
        """Whether it is the password of this hash; with None (nobody has the name) False after the same work. Raises Overloaded."""
        if kept is None:
            if self._nobody is None:
                self._nobody = await self.hash("nobody's password")
            await self._run(lambda: self._matches(self._nobody or "", password))
            return False
        return await self._run(lambda: self._matches(kept, password))

    def outdated(self, kept: str) -> bool:
        """Whether the hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(kept)

    def _matches(self, kept: str, password: str) -> bool:
        try:
            return self._hasher.verify(kept, password)
        except (argon2.exceptions.VerifyMismatchError, argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return False

    async def _run(self, work: Callable[[], Result]) -> Result:
        if self._waiting >= WAITING:
            raise Overloaded("Too many log-ins at once.")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1
