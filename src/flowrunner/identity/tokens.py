"""How API tokens look: ``flr_ID_SECRETCHECK``, found by scanners, told apart from typing errors before any store is asked.

`ID` is 12 letters and digits and no secret. `SECRET` is 43 letters and digits (256 bits). `CHECK` is 6 more, a checksum. Only the
SHA-256 of the secret is kept: it has too many bits to be guessed, so it needs no slow hash (OWASP ASVS 5.0, 11.4.2).
"""

from __future__ import annotations

import hashlib
import hmac
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass

Randomness = Callable[[int], bytes]

PREFIX = "flr_"
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_TOKEN = re.compile(r"flr_([0-9A-Za-z]{12})_([0-9A-Za-z]{43})([0-9A-Za-z]{6})")


@dataclass(frozen=True, slots=True)
class ApiToken:
    """A token's two parts; the secret is never shown by `repr`."""

    id: str
    secret: str

    def __repr__(self) -> str:
        return f"ApiToken({self.id!r})"

    @property
    def text(self) -> str:
        """What its user keeps."""
        return f"{PREFIX}{self.id}_{self.secret}{_check(self.id, self.secret)}"

    @property
    def digest(self) -> str:
        """What the server keeps."""
        return hashlib.sha256(self.secret.encode()).hexdigest()


def new_token(randomness: Randomness) -> ApiToken:
    """A new token of 256 random bits."""
    return ApiToken(_letters(randomness(9), 12), _letters(randomness(32), 43))


def read_token(text: str) -> ApiToken | None:
    """The parts of a token; None for what cannot be one."""
    found = _TOKEN.fullmatch(text)
    if found is None or not hmac.compare_digest(found[3], _check(found[1], found[2])):
        return None
    return ApiToken(found[1], found[2])


def new_id(randomness: Randomness, prefix: str) -> str:
    """An id of 12 letters and digits that nobody can guess, after a prefix."""
    return prefix + _letters(randomness(9), 12)


def new_access_key(randomness: Randomness) -> tuple[str, str]:
    """An AWS access key id (``AKIA`` and 16 letters and digits) and a secret of 40 characters."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
    name = "".join(letters[byte % 32] for byte in randomness(16))
    return f"AKIA{name}", _letters(randomness(30), 40)


def _check(name: str, secret: str) -> str:
    return _letters(zlib.crc32(f"{name}{secret}".encode()).to_bytes(4, "big"), 6)


def _letters(data: bytes, length: int) -> str:
    """The bytes as a number in base 62, of at most this many digits."""
    number = int.from_bytes(data, "big")
    digits = ""
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits = _DIGITS[digit] + digits
    return digits
