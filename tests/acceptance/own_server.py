"""A server with accounts, started by its command in a folder of its own, and a user's commands against it."""

import contextlib
import json
import os
import re
import subprocess

import forked

SECONDS = 60


class Site:
    """A folder with a store, where a server can be started, killed and started again."""

    def __init__(self, folder, store=None):
        self.folder = folder
        self.store = ("--store", store) if store else ()
        self.process = None
        self.starts = 0
        self.log = None
        self.url = ""

    def _environment(self, profile):
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("FLOWRUNNER_", "AWS_"))}
        return {**kept, "NO_COLOR": "1", "XDG_CONFIG_HOME": str(self.folder / "profiles" / profile)}

    def start(self, *, port=0):
        """Start the server and wait until callers can come, or until it has ended: then that is what it said."""
        self.starts += 1
        self.log = self.folder / f"server-{self.starts}.log"
        with self.log.open("w") as log:
            self.process = forked.Forked("serve", *self.store, "--port", port, cwd=self.folder, env=self._environment("server"), stderr=log)
        while "Ctrl-C stops it" not in self.said:
            try:
                self.process.wait(0.02)
            except subprocess.TimeoutExpired:
                continue
            return self.said
        self.url = re.search(r"listens on (\S+)", self.said)[1]
        return self.said

    @property
    def said(self):
        """What the server has said since it was started."""
        return self.log.read_text()

    def token(self):
        """The one-time token that a first start prints, once callers can come."""
        while (found := re.search(r"flr_\w+(?=\s)", self.said)) is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                raise AssertionError(f"The server ended with {self.process.wait(0.02)}: {self.said}")
        return found[0]

    def kill(self):
        """``kill -9``."""
        self.process.kill()
        self.process.wait(SECONDS)

    def stop(self):
        self.process.terminate()
        return self.process.wait(SECONDS)

    def close(self):
        """End the server, if it runs."""
        if self.process is not None and self.process.poll() is None:
            self.kill()

    def run(self, *words, profile="owner", text=None):
        """A command of the user of this profile, to its end."""
        return forked.run(*words, cwd=self.folder, env=self._environment(profile), text=text, timeout=SECONDS)

    def json(self, *words, profile="owner", text=None):
        """What a command prints with ``--json``."""
        shown = self.run(*words, "--json", profile=profile, text=text)
        assert shown.returncode == 0, shown.stderr
        return json.loads(shown.stdout)

    def keys(self, profile="owner"):
        """The variables of a new AWS key pair, as ``flowrunner key create`` exports them."""
        shown = self.run("key", "create", profile=profile)
        assert shown.returncode == 0, shown.stderr
        return dict(re.findall(r"^export (\w+)=(\S+)$", shown.stdout, re.MULTILINE))


def step_functions(variables):
    """A boto3 client with these variables and no others."""
    import boto3
    from botocore.config import Config

    return boto3.client(
        "stepfunctions",
        endpoint_url=variables["AWS_ENDPOINT_URL_SFN"],
        region_name=variables["AWS_REGION"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
        config=Config(inject_host_prefix=False, retries={"max_attempts": 0}),
    )
