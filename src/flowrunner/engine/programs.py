"""Compiled programs by revision: each is compiled once per process, the most used are kept."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable

from flowrunner.core.program import Program
from flowrunner.errors import NotFound
from flowrunner.ports.definitions import DefinitionStore, Revision

Compiler = Callable[[Revision], Program]
KEPT_PROGRAMS = 1000
THREAD_CHARACTERS = 32_768  # about 5 ms of compiling


class Programs:
    """Programs of one store. `compiler` raises InvalidDefinition for a revision that this release cannot read."""

    def __init__(self, definitions: DefinitionStore, compiler: Compiler, kept: int = KEPT_PROGRAMS) -> None:
        self._definitions = definitions
        self._compiler = compiler
        self._kept = kept
        self._programs: OrderedDict[str, tuple[Revision, Program]] = OrderedDict()

    async def of(self, revision: str) -> tuple[Revision, Program]:
        """The revision and its program; raises NotFound."""
        found = self._programs.get(revision)
        if found is not None:
            return found
        stored = await self._definitions.revision(revision)
        if stored is None:
            raise NotFound("revision", revision)
        return await self.compiled(stored)

    async def compiled(self, revision: Revision) -> tuple[Revision, Program]:
        """Compile a revision that is at hand, or take the program kept; a large one is compiled beside the event loop."""
        found = self._programs.get(revision.id)
        if found is None:
            large = len(revision.definition) > THREAD_CHARACTERS
            program = await asyncio.to_thread(self._compiler, revision) if large else self._compiler(revision)
            found = self._programs[revision.id] = (revision, program)
            if len(self._programs) > self._kept:
                self._programs.popitem(last=False)
        return found
