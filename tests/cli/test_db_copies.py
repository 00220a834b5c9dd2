"""Where `flowrunner db export` writes before the file has its name."""

import asyncio

import pytest

from flowrunner.cli.main import run
from flowrunner.stores.open import open_upkeep


@pytest.mark.parametrize("planted", ["file", "link"])
async def test_an_export_is_never_written_into_what_somebody_put_there(tmp_path, capsys, planted):
    """A file with wider rights, or a link to another file, that lies where the lines go is replaced, not written to."""
    url = f"sqlite:///{tmp_path}/flow.db"
    await open_upkeep(url).upgrade()
    made, partial, victim = (tmp_path / name for name in ("e.jsonl", "e.jsonl.partial", "victim"))
    victim.write_text("mine")
    if planted == "link":
        partial.symlink_to(victim)
    else:
        partial.touch()
        partial.chmod(0o666)

    assert await asyncio.to_thread(run, ["db", "export", str(made), "--store", url]) == 0, capsys.readouterr().err
    assert not made.is_symlink()
    assert made.stat().st_mode & 0o777 == 0o600
    assert made.read_text().count("\n") == 2
    assert victim.read_text() == "mine"
