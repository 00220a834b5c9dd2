"""The kind ``command``: programs that the operator has allowed, with a list of arguments and without a shell."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from flowrunner.errors import InvalidDocument
from flowrunner.jsonvalue import JSONObject, JSONValue, dumps, loads
from flowrunner.kinds.processes import COMMAND
from flowrunner.ports.tasks import begin
from flowrunner.tasks.nodes.children import OUTPUT_BYTES, SEARCHED, TooMuchOutput, run_child
from flowrunner.tasks.nodes.kind import NodeCall, NodeFailed, NodeKind, NodeResult
from flowrunner.tasks.nodes.reading import bad, flag, listing, optional_text, seconds, text
from flowrunner.tasks.secrecy import hidden

NOT_ALLOWED, FAILED, OUTPUT = "FlowRunner.CommandNotAllowed", "FlowRunner.CommandFailed", "FlowRunner.CommandOutput"
LONGEST_SECONDS = 24 * 3600.0
MOST_ARGUMENTS = 1000
_SHOWN_CHARACTERS = 1000  # of the error output in a cause


class Programs:
    """What may be started: `allow` are names or absolute paths, `folder` is where a definition may choose the working folder."""

    def __init__(self, allow: Iterable[str] = (), folder: Path | None = None) -> None:
        self._allowed: dict[str, str] = {}
        for entry in allow:
            self._allowed.setdefault(entry, entry)
            self._allowed.setdefault(entry.rpartition("/")[2], entry)
        self._folder = folder

    @property
    def names(self) -> tuple[str, ...]:
        """What may be written in a definition."""
        return tuple(self._allowed)

    def find(self, name: str) -> str:
        """The absolute path of a program. Raises NodeFailed ``FlowRunner.CommandNotAllowed``."""
        entry = self._allowed.get(name)
        if entry is None:
            there = ", ".join(sorted(self._allowed)) or "none"
            remedy = (
                f'The operator may allow it: command_allow = ["{name}"]. Allowed: {there}.'
                if _is_name(name)
                else f"Arguments stand in 'args'. Allowed: {there}."
            )
            raise NodeFailed(f"The program {name[:200]!r} is not allowed. {remedy}", error=NOT_ALLOWED)
        found = entry if entry.startswith("/") else shutil.which(entry, path=os.environ.get("PATH", SEARCHED))
        if found is None or not os.access(found, os.X_OK):
            raise NodeFailed(f"The program {name!r} is allowed, but it is not on this machine.", error=NOT_ALLOWED)
        return str(Path(found).absolute())

    def folder(self, name: str | None) -> Path | None:
        """The working folder; None for a new one. Raises NodeFailed for one that is not within the operator's folder."""
        if name is None:
            return None
        if self._folder is None:
            raise NodeFailed("The parameter 'cwd' cannot be used: the operator has set no command_folder.", error=NOT_ALLOWED)
        root = self._folder.resolve()
        if "\0" in name or not (found := (root / name).resolve()).is_relative_to(root) or not found.is_dir():
            raise NodeFailed("The parameter 'cwd' is no folder within the operator's command_folder.", error=NOT_ALLOWED)
        return found


class Command(NodeKind):
    """Starts a program and waits for its end."""

    info = COMMAND

    def __init__(self, programs: Programs) -> None:
        self._programs = programs

    async def run(self, call: NodeCall) -> NodeResult:
        """``{exitCode, stdout, stderr}``. Raises NodeFailed; TimeoutError after the program was killed."""
        params = call.params
        program = self._programs.find(text(params, "command", "cmd"))
        folder = self._programs.folder(optional_text(params, "cwd"))
        arguments = _arguments(listing(params, "args"))
        stdin = optional_text(params, "stdin")
        longest = seconds(params, "timeout", default=60.0, high=LONGEST_SECONDS)
        await begin()
        try:
            ended = await run_child(program, arguments, seconds=longest, folder=folder, stdin=None if stdin is None else stdin.encode())
        except TooMuchOutput:
            raise NodeFailed(f"The program wrote more than {OUTPUT_BYTES:,} bytes and was killed.", error=OUTPUT) from None
        except TimeoutError:  # an OSError, too
            raise
        except OSError as error:
            raise NodeFailed(f"The program could not be started: {error.strerror}.", error=FAILED) from None
        output: JSONObject = {
            "exitCode": ended.code,
            "stdout": ended.stdout.decode("utf-8", "replace"),
            "stderr": ended.stderr.decode("utf-8", "replace"),
        }
        if ended.code != 0 and call.language == "workflow":
            said = hidden(output["stderr"]).strip()[-_SHOWN_CHARACTERS:]
            raise NodeFailed(f"The program ended with exit code {ended.code}{f': {said}' if said else '.'}", error=FAILED)
        if flag(params, "parse_json", default=False) and ended.code == 0:
            output["json"] = _json(output["stdout"])
        return NodeResult(output, "success" if ended.code == 0 else "error")


def _is_name(name: str) -> bool:
    return bool(name) and not any(character.isspace() or character in "\"'\\" for character in name) and len(name) <= 200


def _arguments(values: list[JSONValue]) -> list[str]:
    if len(values) > MOST_ARGUMENTS:
        raise bad(f"The parameter 'args' has at most {MOST_ARGUMENTS} arguments.")
    found = []
    for place, value in enumerate(values):
        if value is None or isinstance(value, dict | list):
            raise bad(f"The parameter 'args[{place}]' must be a text, a number or a boolean; JSON goes as text.")
        argument = value if isinstance(value, str) else dumps(value)
        if "\0" in argument:
            raise bad(f"The parameter 'args[{place}]' has a NUL character, which no program can be given.")
        found.append(argument)
    return found


def _json(output: str) -> JSONValue:
    try:
        return loads(output)
    except InvalidDocument as error:
        raise NodeFailed(f"What the program wrote is no JSON: {error.message}", error=OUTPUT) from None
