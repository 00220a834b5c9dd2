"""The server process from inside: what ends it, and what is said then."""

import pytest

from flowrunner.cli.hosting import host
from flowrunner.config import load


async def test_what_runs_beside_and_fails_is_told(tmp_path):
    """The server does not end as if somebody had stopped it: whoever waits for it gets the error."""
    told = []

    async def broken(application):
        told.append(application.stopping.is_set())
        raise LookupError("the folder is gone")

    settings = load(environment={}, folder=tmp_path, flags={"store": "memory:", "dev": True, "port": 0})
    with pytest.raises(LookupError, match="the folder is gone"):
        await host(settings, lambda _application, url: told.append(url.startswith("http://127.0.0.1:")), broken)
    assert told == [True, False]
