"""Master keys: 32 random bytes that wrap every account's data keys, and where they come from.

In order: ``FLOWRUNNER_MASTER_KEY`` (or ``FLOWRUNNER_ENCRYPTION_KEY``), the file of ``FLOWRUNNER_MASTER_KEY_FILE``, the key file beside
the store. A source may hold several keys, the current one first; the older ones only open what they wrapped.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import fcntl
import hashlib
import hmac
import os
import re
import shlex
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flowrunner.errors import ConfigurationError

KEY_BYTES = 32
KEPT_KEYS = 100  # in a file of our own: older ones open only backups of their time
ID_CHARACTERS = 16  # hex digits: 64 bits
MAX_FILE_BYTES = 64 * 1024  # a key file is some lines; nothing longer is read
_ID_PREFIX = b"flowrunner master key id\0"
_CHECK_TEXT = b"flowrunner master key check\0"
_SPLIT = re.compile(r"[\s,]+")
_HEX = re.compile(r"[0-9a-fA-F]{64}")
_HEADER = "# FlowRunner master keys, the current one first. Who has this file can read every secret; who loses it can read none.\n"
Randomness = Callable[[int], bytes]  # gives so many random bytes, as os.urandom


@dataclass(frozen=True, slots=True)
class MasterKey:
    """One master key; `origin` says where it was found, `id` can be shown to anybody."""

    secret: bytes = field(repr=False)
    origin: str
    id: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", hashlib.sha256(_ID_PREFIX + self.secret).hexdigest()[:ID_CHARACTERS])

    def check(self) -> str:
        """A value that only this key gives; the key ring keeps it, so that an id alone cannot pass for a key."""
        return hmac.new(self.secret, _CHECK_TEXT, hashlib.sha256).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class MasterKeys:
    """The keys this server has: the current one, which wraps, and older ones, which only open."""

    current: MasterKey
    older: tuple[MasterKey, ...] = ()

    def find(self, key_id: str) -> MasterKey | None:
        """The key of this id."""
        return next((key for key in (self.current, *self.older) if key.id == key_id), None)


def parse_keys(text: str, origin: str) -> MasterKeys:
    """Read keys in base64 or hex, separated by blanks, commas or lines; ``#`` begins a comment. Raises ConfigurationError, never with a key in it."""
    words = [word for line in text.splitlines() for word in _SPLIT.split(line.partition("#")[0]) if word]
    keys = [MasterKey(_secret(word, origin, place), origin) for place, word in enumerate(words, 1)]
    if not keys:
        raise ConfigurationError(f"{origin} holds no master key.", remedy=_MAKE)
    return MasterKeys(keys[0], tuple(key for place, key in enumerate(keys) if place and key.id not in {other.id for other in keys[:place]}))


_MAKE = "A key is 32 random bytes in base64 or hex: openssl rand -base64 32"


def _secret(word: str, origin: str, place: int) -> bytes:
    try:
        found = (
            bytes.fromhex(word) if _HEX.fullmatch(word) else base64.b64decode(word.replace("-", "+").replace("_", "/") + "=" * (-len(word) % 4), validate=True)
        )
    except (binascii.Error, ValueError):
        found = b""
    if len(found) != KEY_BYTES:
        raise ConfigurationError(f"{origin}: key {place} is not {KEY_BYTES} bytes in base64 or hex.", remedy=_MAKE)
    return found


def read_key_file(path: Path, *, named: bool = False) -> MasterKeys | None:
    """The keys of a file, None when it is not there. Raises ConfigurationError for one that others can read, or that holds no key.

    `named`: the operator named the file; then its group may read it, as orchestrators mount secrets.
    """
    try:
        with path.open("rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            content = opened.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(f"The key file {path} cannot be read: {error.strerror or error}.") from None
    too_open = mode & (0o027 if named else 0o077)
    if too_open or not stat.S_ISREG(mode):
        raise ConfigurationError(f"The key file {path} can be read by others (mode {stat.S_IMODE(mode):04o}).", remedy=f"Run: chmod 600 {path}")
    if len(content) > MAX_FILE_BYTES:
        raise ConfigurationError(f"The key file {path} has more than {MAX_FILE_BYTES} bytes.")
    return parse_keys(content.decode("utf-8", "replace"), str(path))


def write_key_file(path: Path, keys: Sequence[MasterKey], *, replace: bool = False) -> bool:
    """Write a key file (0600), durably: the file, then its folder. False when there is one already and `replace` is not set.

    The file appears whole or not at all: it is written under another name that nobody else has, and linked. Raises ConfigurationError.
    """
    text = _HEADER + "".join(f"{base64.b64encode(key.secret).decode()}  # {key.id}\n" for key in keys)
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft.unlink(missing_ok=True)  # of a process of the same number that was killed
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(descriptor, "w", encoding="ascii") as opened:  # noqa: PTH123 - a descriptor
            opened.write(text)
            opened.flush()
            os.fsync(opened.fileno())
        if replace:
            draft.replace(path)
        else:
            try:
                os.link(draft, path)
            except FileExistsError:
                return False
        _sync_folder(path.parent)
    except OSError as error:
        raise ConfigurationError(f"The key file {path} cannot be written: {error.strerror or error}.", remedy=f"Set FLOWRUNNER_MASTER_KEY. {_MAKE}") from None
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
    return True


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep other servers on this machine from changing the file: a key that one of them has just put there must not be lost."""
    try:
        descriptor = os.open(path.with_name(f"{path.name}.lock"), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise ConfigurationError(f"The folder of the key file {path} cannot be written: {error.strerror or error}.") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class KeySource:
    """Where this server's master keys come from.

    `value` is the text of the environment, under the name `variable`; `file` the file the operator named; `own_file` the file that the
    server makes itself. With none of them a key is made that lives as long as the process: for stores that do so too.
    """

    def __init__(
        self,
        *,
        randomness: Randomness,
        value: str | None = None,
        variable: str = "FLOWRUNNER_MASTER_KEY",
        file: Path | None = None,
        own_file: Path | None = None,
    ) -> None:
        self._randomness = randomness
        self._value = value
        self._variable = variable
        self._file = file
        self._own_file = own_file
        self._made: MasterKeys | None = None

    @property
    def place(self) -> str:
        """Where a missing key belongs, for messages."""
        if self._value:
            return f"the variable {self._variable}"
        path = self._file or self._own_file
        return "this process" if path is None else f"the file {path}"

    @property
    def makes_keys(self) -> bool:
        """Whether the server may make keys itself: not where an operator has stated them."""
        return not self._value and self._file is None

    def load(self) -> MasterKeys | None:
        """The keys there are now; None when there are none yet. Raises ConfigurationError."""
        if self._value:
            return parse_keys(self._value, self._variable)
        if self._file is not None:
            found = read_key_file(self._file, named=True)
            if found is None:
                raise ConfigurationError(
                    f"The key file {self._file} is not there; it was named in the settings, so none is made.",
                    remedy=f"Put it back, or make it: (umask 077; openssl rand -base64 32 > {shlex.quote(str(self._file))}). Without master_key_file the server makes one itself.",
                )
            return found
        return self._made if self._own_file is None else read_key_file(self._own_file)

    def create(self) -> MasterKeys:
        """Make the first key, or take the one that another server made in the same place meanwhile. Raises ConfigurationError."""
        return self.load() or self._keep(())

    def add(self) -> MasterKeys:
        """Make a key and put it before those there are. Raises ConfigurationError where an operator states the keys."""
        if not self.makes_keys:
            raise ConfigurationError(
                f"The master key comes from {self.place}, so the server cannot make another.",
                remedy=f"Put a new key before the old one there, on every server, start them again, then rotate. {_MAKE}",
            )
        with contextlib.nullcontext() if self._own_file is None else _alone(self._own_file):
            found = self.load()
            return self._keep(() if found is None else (found.current, *found.older)[: KEPT_KEYS - 1])

    def _keep(self, older: tuple[MasterKey, ...]) -> MasterKeys:
        origin = "this process" if self._own_file is None else str(self._own_file)
        made = MasterKeys(MasterKey(self._randomness(KEY_BYTES), origin), older)
        if self._own_file is None:
            self._made = made
        elif not write_key_file(self._own_file, (made.current, *older), replace=bool(older)):
            found = read_key_file(self._own_file)
            return made if found is None else found
        return made
