"""Watching a folder of definitions: what is new or changed is checked and registered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from flowrunner.cli.output import finding, say
from flowrunner.cli.source import read_source
from flowrunner.client import Client
from flowrunner.clock import Clock
from flowrunner.errors import FlowRunnerError

LOOK_SECONDS = 0.5
PATTERNS = ("*.asl.json", "*.asl.yaml", "*.asl.yml")
_State = tuple[int, int]  # modification time in nanoseconds, size


class Folder:
    """One folder, and what was seen in it."""

    def __init__(self, folder: Path, client: Client, clock: Clock, *, role_arn: str) -> None:
        self._folder = folder
        self._client = client
        self._clock = clock
        self._role_arn = role_arn
        self._seen: dict[Path, _State] = {}

    async def watch(self) -> None:
        """Look, for ever."""
        while True:
            await self.look()
            await self._clock.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Register what is new or changed since the last look."""
        for path, state in self._files():
            if self._seen.get(path) != state:
                self._seen[path] = state
                await self._register(path)

    def _files(self) -> Iterator[tuple[Path, _State]]:
        for pattern in PATTERNS:
            for path in sorted(self._folder.glob(pattern)):
                try:
                    found = path.stat()
                except OSError:  # gone meanwhile
                    continue
                yield path, (found.st_mtime_ns, found.st_size)

    async def _register(self, path: Path) -> None:
        try:
            source = read_source(str(path))
            for found in source.diagnostics:
                say(finding(found, source.file))
            if source.program is not None:
                arn = await self._client.register(source.name, source.definition, role_arn=self._role_arn)
                say(f"{path}: registered as {arn}")
        except FlowRunnerError as error:
            say(f"{path}: {error}")
