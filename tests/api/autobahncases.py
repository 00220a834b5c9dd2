"""The cases of Autobahn|Testsuite, which are written for Python 2, as classes that run here.

The cases themselves are not part of FlowRunner: `fetched` gets the published package, whose hash is pinned, and leaves it in `.flowrunner`.
There is little to translate. A string of the cases is a string of bytes, so a file is read as Latin-1 and each byte stays one character;
`fuzzingclient` turns such strings into bytes and back. What the cases use of Autobahn and of Python 2 stands in `_given`.
"""

import binascii
import hashlib
import importlib.abc
import importlib.util
import re
import subprocess
import sys
import tarfile
import types
import warnings
from pathlib import Path

VERSION = "25.10.1"
SHA256 = "b083d6e15330fc16f3e5f0975cce2b15f21bfa0c6db09547316b1852c6dbd6df"
KEPT = Path(__file__).parents[2] / ".flowrunner" / "autobahn"
COMMAND = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", f"autobahntestsuite=={VERSION}"]
_FILES = re.compile(r"autobahntestsuite/case/(case(?:[1-7]|9|10)_\w+|case)\.py$")  # 12 and 13 are of compression
_NAME = re.compile(r"Case\d+(_\d+)+$")
_LEFT_OUT = {"case9_9_1"}  # the suite leaves it out too: a message without end
_PYTHON_2 = [(re.compile(r"\bprint .*"), "pass"), (re.compile(r"(len\(self\.payload\)) / "), r"\1 // "), (re.compile(r"\(object, Case, \)"), "(Case,)")]


class NotHere(Exception):
    """The package could not be had."""


def fetched():
    """The package's archive, downloaded if it is not here yet."""
    archive = KEPT / f"autobahntestsuite-{VERSION}.tar.gz"
    if not archive.exists():
        KEPT.mkdir(parents=True, exist_ok=True)
        try:
            subprocess.run([*COMMAND, "--dest", KEPT], check=True, timeout=120, capture_output=True)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            raise NotHere(f"no package registry: {' '.join(COMMAND[2:])} --dest {KEPT}") from error
    assert hashlib.sha256(archive.read_bytes()).hexdigest() == SHA256, f"{archive} is not what was published"
    return archive


class Validator:
    """Whether bytes are UTF-8 so far, and whether a code point ends there."""

    def reset(self):
        pass

    def validate(self, data):
        raw = data.encode("latin-1")
        try:
            raw.decode()
        except UnicodeDecodeError as error:
            return error.reason == "unexpected end of data", False
        return True, True


class WebSocketProtocol:
    STATE_CLOSED, STATE_CONNECTING, STATE_CLOSING, STATE_OPEN = range(4)


def _given():
    """Modules that the cases import."""
    made = {name: types.ModuleType(name) for name in ("autobahn", "autobahn.websocket", "autobahn.websocket.protocol", "autobahn.websocket.utf8validator")}
    made["autobahn.websocket.protocol"].WebSocketProtocol = WebSocketProtocol
    made["autobahn.websocket.utf8validator"].Utf8Validator = Validator
    made["binascii"] = types.ModuleType("binascii")
    made["binascii"].b2a_hex = lambda text: binascii.b2a_hex(text.encode("latin-1")).decode()
    return made


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports the cases from their archive."""

    def __init__(self, sources):
        self.sources = sources

    def find_spec(self, fullname, path=None, target=None):
        del path, target
        return importlib.util.spec_from_loader(fullname, self) if fullname in self.sources else None

    def exec_module(self, module):
        module.xrange = range
        source = self.sources[module.__name__]
        for pattern, meant in _PYTHON_2:
            source = pattern.sub(meant, source)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            code = compile(source, f"{module.__name__}.py", "exec")
        exec(code, vars(module))


def cases():
    """All cases without compression by their number, such as "7.1.5"."""
    with tarfile.open(fetched()) as archive:
        members = [(found[1], member) for member in archive if (found := _FILES.search(member.name))]
        sources = {name: archive.extractfile(member).read().decode("latin-1") for name, member in members}
    finder, given, before = Finder(sources), _given(), dict(sys.modules)
    sys.meta_path.insert(0, finder)
    sys.modules.update(given)
    try:
        found = {}
        for name in sorted(sources.keys() - _LEFT_OUT):
            module = importlib.import_module(name)
            values = list(vars(module).values())
            for made in [*values, *(one for value in values if isinstance(value, list) for one in value)]:
                if isinstance(made, type) and _NAME.fullmatch(made.__name__):
                    found[made.__name__.removeprefix("Case").replace("_", ".")] = made
        return dict(sorted(found.items(), key=lambda item: [int(part) for part in item[0].split(".")]))
    finally:
        sys.meta_path.remove(finder)
        for name in (*sources, *given):
            sys.modules.pop(name, None)
        sys.modules.update({name: before[name] for name in given if name in before})
