"""The real command as a process."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import forked

SECONDS = 60  # none of these commands takes a tenth of it
COMMAND = (sys.executable, "-m", "flowrunner")


def _environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FLOWRUNNER_", "AWS_"))}
    return {**kept, "NO_COLOR": "1", "COLUMNS": "120", **more}


def flowrunner(*arguments: str, folder: Path, text: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return forked.run(*arguments, cwd=folder, env=_environment(**environment), text=text, timeout=SECONDS)


@dataclass
class ServerProcess:
    """A server that accepts at `url`."""

    process: forked.Forked
    url: str
    said: IO[str]  # what comes on standard error

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(SECONDS)


@contextlib.contextmanager
def serving(*arguments: str, folder: Path) -> Iterator[ServerProcess]:
    """Run ``flowrunner serve`` (or what is given) on a free port until the block ends."""
    words = arguments or ("serve", "--dev", "--store", "memory:")
    reading, writing = os.pipe()
    with os.fdopen(reading, encoding="utf-8") as said:
        process = forked.Forked(*words, "--port", "0", cwd=folder, env=_environment(), stderr=writing)
        os.close(writing)
        try:
            line = said.readline()
            assert "listens on http" in line, line + said.read()
            yield ServerProcess(process, line.split()[-1], said)
        finally:
            process.kill()
            process.wait(SECONDS)
