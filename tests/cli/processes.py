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

SECONDS = 60  # none of these commands takes a tenth of it
COMMAND = (sys.executable, "-m", "flowrunner")


def _environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FLOWRUNNER_", "AWS_"))}
    return {**kept, "NO_COLOR": "1", "COLUMNS": "120", **more}


def flowrunner(*arguments: str, folder: Path, text: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [*COMMAND, *arguments], cwd=folder, env=_environment(**environment), input=text, capture_output=True, text=True, timeout=SECONDS, check=False
    )


@dataclass
class ServerProcess:
    """A server that accepts at `url`."""

    process: subprocess.Popen[str]
    url: str

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(SECONDS)


@contextlib.contextmanager
def serving(*arguments: str, folder: Path) -> Iterator[ServerProcess]:
    """Run ``flowrunner serve`` (or what is given) on a free port until the block ends."""
    words = arguments or ("serve", "--dev", "--store", "memory:")
    process = subprocess.Popen([*COMMAND, *words, "--port", "0"], cwd=folder, env=_environment(), stderr=subprocess.PIPE, text=True)
    try:
        line = process.stderr.readline()
        assert "listens on http" in line, line + process.stderr.read()
        yield ServerProcess(process, line.split()[-1])
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(SECONDS)
        process.stderr.close()
