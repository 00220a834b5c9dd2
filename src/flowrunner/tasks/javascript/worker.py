"""The process in which JavaScript runs (started by ``pool``; the server takes only the forms of frames from here): one call, one new context.

It is given the standard library and the engine, an empty environment, its two pipes and no right to open anything. Frames on the
pipes (big-endian):

- in, a call: length, milliseconds, memory in bytes, and 1 if the script can end by the engine's own time limit, 0 if not; then JSON (see
  ``prelude.js``). With 2 instead scripts are only read: JSON of a list of lists, the ways to read each script;
- in, an answer to a question: length; then JSON;
- out: length, one letter; then JSON text. ``h`` ready, ``c`` one script was read (what was said of each way, null if it can be run), ``l`` a line (level and text), ``s`` a secret is asked for, ``n`` the names of
  secrets are asked for, ``r`` the reply, ``x`` the engine gave up (its words).

The engine cannot call Python while its own time limit is set, so that limit is for scripts that use neither secrets nor the console. For every
script the process has an alarm that ends it: whatever it does, it is over in time.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import struct
import sys
from pathlib import Path
from typing import Any

CALL = struct.Struct(">IIQB")
ANSWER = struct.Struct(">I")
OUT = struct.Struct(">Ic")
GRACE = 0.25  # seconds: how much longer the alarm waits than the engine's own limit
BESIDE = 512 * 1024 * 1024  # bytes of address space besides the engine's memory: Python and its libraries
MOST_WORDS = 2000  # characters of what the engine says of one script
STACK = 1024 * 1024  # bytes of the C stack that the engine may use
READ_ONLY = 2
READ_FIRST = 'throw"read";'  # before code that must not run: the engine reads all of it before it runs anything
_LETTERS = {"secret": b"s", "names": b"n"}


def refusal(context: Any, code: str, errors: tuple[type[Exception], ...]) -> str | None:
    """What the engine says against code that begins with `READ_FIRST`; None when it can be read. `errors` are the engine's own."""
    try:
        context.eval(code)
    except errors as error:
        words = str(error)
        return None if words.partition("\n")[0] == "read" else words
    except MemoryError:
        return "InternalError: out of memory"
    return None


class Pipes:
    """Frames on the first two descriptors, and the clock that is stopped while the server is asked something."""

    def __init__(self) -> None:
        self._in = os.fdopen(0, "rb")

    def take(self, form: struct.Struct) -> tuple[tuple[Any, ...], bytes]:
        """The next frame: head and content. Ends the process when the server has gone."""
        head = self._in.read(form.size)
        if len(head) < form.size:
            os._exit(0)
        fields = form.unpack(head)
        return fields, self._in.read(fields[0])

    def send(self, letter: bytes, content: bytes) -> None:
        """Write one frame whole."""
        frame = memoryview(OUT.pack(len(content), letter) + content)
        while frame:
            frame = frame[os.write(1, frame) :]

    def ask(self, kind: str, content: str) -> str | None:
        """What a script can reach of the host: lines go out, secrets and their names come in."""
        letter = _LETTERS.get(kind)
        if letter is None:
            line = json.loads(content).encode("utf-8", "replace").decode()  # half of a character is none
            self.send(b"l", json.dumps([kind, line]).encode())
            return None
        left = signal.setitimer(signal.ITIMER_REAL, 0)[0]  # waiting for the server is not the script's time
        self.send(letter, content.encode())
        _, answer = self.take(ANSWER)
        signal.setitimer(signal.ITIMER_REAL, left or 0.001)
        return answer.decode()


class Runs:
    """Makes contexts, and runs one call in each."""

    def __init__(self, engine: Any, pipes: Pipes, prelude: str) -> None:
        self._engine = engine
        self._pipes = pipes
        self._prelude = prelude
        self._memory = 0

    def context(self) -> tuple[Any, Any]:
        """A new context and its entry."""
        context = self._engine.Context()
        context.set_max_stack_size(STACK)
        context.add_callable("ask", self._pipes.ask)
        start = context.eval(self._prelude)
        return context, start

    def run(self, context: Any, start: Any, head: tuple[Any, ...], content: bytes) -> tuple[bytes, bytes]:
        """Letter and content of the reply."""
        _, milliseconds, memory, engine_limit = head
        self._bound(memory)
        context.set_memory_limit(memory)
        seconds = milliseconds / 1000
        signal.setitimer(signal.ITIMER_REAL, seconds + (GRACE if engine_limit else 0))
        if engine_limit:
            context.set_time_limit(seconds)
        try:
            reply = start(context.parse_json(content.decode()))
            while reply is None:
                ran = context.execute_pending_job()
                reply = start(None)
                if reply is None and not ran:
                    return b"x", b"pending"
            return b"r", reply.encode()
        except (self._engine.JSException, self._engine.StackOverflow) as error:
            return b"x", str(error).encode("utf-8", "replace")
        except MemoryError:
            return b"x", b"InternalError: out of memory"
        except Exception as error:  # noqa: BLE001 - a value that the engine's binding cannot pass on
            return b"x", f"InternalError: {error}".encode("utf-8", "replace")
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def read(self, head: tuple[Any, ...], content: bytes) -> tuple[bytes, bytes]:
        """Read scripts one by one, telling of each; letter and content of the reply."""
        _, milliseconds, memory, _ = head
        self._bound(memory)
        signal.setitimer(signal.ITIMER_REAL, milliseconds / 1000)
        for ways in json.loads(content):
            said = []
            for code in ways:
                context = self._engine.Context()
                context.set_max_stack_size(STACK)
                context.set_memory_limit(memory)
                said.append(refusal(context, code, (self._engine.JSException, self._engine.StackOverflow)))
                if said[-1] is None:
                    break
            words = None if said[-1] is None else [str(one)[:MOST_WORDS] for one in said]
            self._pipes.send(b"c", json.dumps(words).encode())
        signal.setitimer(signal.ITIMER_REAL, 0)
        return b"r", b"null"

    def _bound(self, memory: int) -> None:
        if memory != self._memory:
            self._memory = memory
            _, most = resource.getrlimit(resource.RLIMIT_AS)
            wanted = memory + BESIDE
            resource.setrlimit(resource.RLIMIT_AS, (wanted if most == resource.RLIM_INFINITY else min(wanted, most), most))


def confine() -> None:
    """No file, no process, no core from here on: what is open stays, and nothing more can be opened."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's; the server decides
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process
    os.nice(5)  # the server goes before its scripts
    for kind in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE, resource.RLIMIT_NPROC):
        resource.setrlimit(kind, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))


def main(folder: str) -> None:
    """Serve until the pipe closes; `folder` holds the engine."""
    sys.path.append(folder)
    import _quickjs  # noqa: PLC0415 - the package around it starts a thread

    prelude = " ".join(Path(__file__).with_name("prelude.js").read_text("utf-8").splitlines())
    pipes = Pipes()
    runs = Runs(_quickjs, pipes, f"(function (ask) {{ delete globalThis.ask; return {prelude}(ask); }})(ask)")
    confine()
    context, start = runs.context()
    pipes.send(b"h", b"{}")
    while True:
        head, content = pipes.take(CALL)
        if head[3] == READ_ONLY:
            letter, reply = runs.read(head, content)
            pipes.send(letter, reply)
            continue
        letter, reply = runs.run(context, start, head, content)
        del context, start
        pipes.send(letter, reply)
        del content, reply
        context, start = runs.context()  # the next one is ready before it is asked for


if __name__ == "__main__":
    main(sys.argv[1])
