"""A reader's session: an empty folder, a shell whose variables last, and a real server where a page starts one."""

import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import tomllib
from pathlib import Path

from ruamel.yaml import YAML

from flowrunner import config
from flowrunner.asl.parse import parse_definition
from flowrunner.flow.parse import parse_flow
from flowrunner.kinds import BUILT_IN

SERVES = re.compile(r"^flowrunner (?:serve|dev)\b[^\n]*$", re.MULTILINE)
LISTENS = re.compile(r"listens on (http://127\.0\.0\.1:(\d+))")
DOCUMENTED = "127.0.0.1:8080"
REGISTERED = "registered as"
TOKEN = re.compile(r"^ +token +(flr_\w+)$", re.MULTILINE)
SECONDS = 50
SHIMS = {name: Path(__file__).with_name(f"{name}_shim.py") for name in ("aws", "wscat")}


class Mismatch(AssertionError):
    """A block does not do what its page says."""


class Session:
    """Carries out the blocks of one page in order."""

    def __init__(self, folder):
        self.folder = folder
        self.output = ""
        self.server = None
        self.port = None
        self.told = queue.SimpleQueue()
        self.said = ""
        commands = folder / ".commands"
        commands.mkdir()
        for name, shim in SHIMS.items():
            command = commands / name
            command.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{shim}" "$@"\n')
            command.chmod(0o755)
        (folder / ".venv").symlink_to(sys.prefix)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "FLOWRUNNER_", "PYTEST", "COV", "VIRTUAL_ENV"))}
        self.environment = kept | {
            "PATH": f"{commands}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(folder),
            "NO_COLOR": "1",
            "COLUMNS": "120",
            "PYTHONWARNINGS": "error",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def run(self, block):
        """Carry out one block; raises Mismatch."""
        body = block.body if self.port is None or block.language == "text" else block.body.replace(DOCUMENTED, f"127.0.0.1:{self.port}")
        if block.saved is not None:
            path = self.folder / block.saved
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(body, encoding="utf-8")
        getattr(self, f"_{block.language}")(block, body)

    def _sh(self, block, body):
        starts = SERVES.search(body)
        if starts is not None:
            if [line for line in body.splitlines() if line.strip() and not line.startswith(("#", starts[0]))]:
                raise Mismatch(f"{block.place}: a block that starts a server does nothing else")
            self._serve(block, starts[0])
            return
        variables = self.folder / ".variables"
        pasted = f"{self._token(block)}\n" if "--token -\n" in body else ""
        self._process(["bash", "-euo", "pipefail", "-c", f"{body}\nenv -0 > {variables}"], block, pasted)
        pairs = (part.partition("=") for part in variables.read_text().split("\0") if part)
        self.environment = {name: value for name, _, value in pairs if name not in ("_", "SHLVL", "PWD", "OLDPWD")}

    def _python(self, block, body):
        if block.saved is None:
            self._process([sys.executable, "-c", body], block)
        else:
            compile(body, block.saved, "exec")

    def _json(self, block, body):
        value = json.loads(body)
        if "States" in value and "StartAt" in value:
            self._definition(block, body, "json")

    def _yaml(self, block, body):
        value = YAML(typ="safe").load(body)
        if "States" in value and "StartAt" in value:
            self._definition(block, body, "yaml")
        elif "nodes" in value:
            self._judge(block, *parse_flow(body, BUILT_IN)[:2])

    def _definition(self, block, body, syntax):
        self._judge(block, *parse_definition(body, syntax=syntax))

    def _judge(self, block, program, diagnostics):
        broken = block.saved is not None and block.saved.startswith("broken")
        if (program is None) != broken:
            raise Mismatch(f"{block.place}: {diagnostics}")

    def _toml(self, block, body):
        tomllib.loads(body)
        if block.saved is not None and block.saved.endswith("flowrunner.toml"):
            config.load(config=self.folder / block.saved, environment={}, folder=self.folder)

    def _text(self, block, body):
        """Compare with what the block before printed; ``...`` stands for anything."""
        wanted = ".*?".join(re.escape(part) for part in _trimmed(body).split("..."))
        shown = _trimmed(self.output.replace(f"127.0.0.1:{self.port}", DOCUMENTED))
        if re.fullmatch(wanted, shown, re.DOTALL) is None:
            raise Mismatch(f"{block.place}: the block before prints\n{shown}")

    def _process(self, arguments, block, pasted=""):
        done = subprocess.run(
            arguments,
            cwd=self.folder,
            env=self.environment,
            input=pasted.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=SECONDS,
            check=False,
        )
        self.output = done.stdout.decode()
        if done.returncode != 0:
            raise Mismatch(f"{block.place}: exit code {done.returncode}\n{self.output}")

    # --- servers

    def _serve(self, block, command):
        self.stop()
        self.told = told = queue.SimpleQueue()
        self.server = subprocess.Popen(["bash", "-c", f"exec {command} --port 0"], cwd=self.folder, env=self.environment, stderr=subprocess.PIPE, text=True)
        threading.Thread(target=_read, args=(self.server.stderr, told), daemon=True).start()
        said, wanted = "", self._definitions_of(command)
        while (line := told.get(timeout=SECONDS)) is not None:
            said += line
            found = LISTENS.search(said)
            if found is not None and said.count(REGISTERED) >= wanted:
                self.port = found[2]
                self.said = said
                self.environment["FLOWRUNNER_SERVER"] = found[1]
                return
        raise Mismatch(f"{block.place}: the server did not start\n{said}")

    def _token(self, block):
        """The token of the first run, which a reader copies from where the server says it."""
        while (found := TOKEN.search(self.said)) is None:
            line = self.told.get(timeout=SECONDS)
            if line is None:
                raise Mismatch(f"{block.place}: the server shows no token\n{self.said}")
            self.said += line
        return found[1]

    def _definitions_of(self, command):
        """How many definitions `flowrunner dev` registers when it starts; a reader sees it say so."""
        folder = re.match(r"flowrunner dev (\S+)", command)
        return 0 if folder is None else len([path for path in (self.folder / folder[1]).glob("*.asl.*") if not path.name.startswith("broken")])

    def stop(self):
        """Stop the server as Ctrl-C does; it must end well."""
        if self.server is not None:
            server, self.server = self.server, None
            server.send_signal(signal.SIGINT)
            code = server.wait(SECONDS)
            if code != 0:
                raise Mismatch(f"the server ended with {code}")

    def kill(self):
        """Leave nothing behind."""
        if self.server is not None:
            self.server.kill()
            self.server.wait()


def _trimmed(text):
    return "\n".join(line.rstrip() for line in text.splitlines()).strip()


def _read(stream, told):
    with stream:
        for line in stream:
            told.put(line)
    told.put(None)
