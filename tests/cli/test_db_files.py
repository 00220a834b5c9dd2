"""Files that commands of `flowrunner db` cannot make or read: each is told with its reason, and nothing is left behind."""

from __future__ import annotations

import os
import threading

import pytest
from processes import flowrunner

from flowrunner.cli.db import moment_of
from flowrunner.errors import ConfigurationError

STORE = ("--store", "sqlite:///flow.db")
LONG = "x" * 300


@pytest.fixture
def folder(tmp_path):
    """A folder with an empty store."""
    assert flowrunner("db", "upgrade", *STORE, folder=tmp_path).returncode == 0
    return tmp_path


@pytest.mark.parametrize("words", [("backup", LONG), ("export", LONG), ("backup", f"{'x' * 250}.db"), ("export", f"{'x' * 250}.db")])
def test_a_file_that_cannot_be_made(folder, words):
    """Whatever the system says against it, it is a usage error with the file's name."""
    before = sorted(folder.iterdir())
    shown = flowrunner("db", *words, *STORE, folder=folder)
    assert shown.returncode == 2, shown
    assert f"{words[1]} cannot be written: File name too long." in shown.stderr
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(("name", "said"), [(LONG, "cannot be read: File name too long."), (".", ". is a folder."), ("nothing", "There is no file nothing.")])
def test_a_file_that_cannot_be_read(tmp_path, name, said):
    """Nothing is made for it."""
    shown = flowrunner("db", "import", name, *STORE, folder=tmp_path)
    assert (shown.returncode, said in shown.stderr) == (2, True), shown
    assert list(tmp_path.iterdir()) == []


def test_an_import_from_a_pipe_with_a_name(folder):
    """As the shell's ``<(...)`` makes one."""
    text = flowrunner("db", "export", "-", *STORE, folder=folder).stdout
    os.mkfifo(folder / "pipe")
    writer = threading.Thread(target=(folder / "pipe").write_text, args=(text,), daemon=True)
    writer.start()
    shown = flowrunner("db", "import", "pipe", "--store", "sqlite:///other.db", folder=folder)
    assert shown.returncode == 0, shown
    writer.join(10)


@pytest.mark.parametrize("words", [("serve", "--port", "0"), ("db", "upgrade"), ("db", "import", "-")])
def test_the_default_folder_that_cannot_be_made(tmp_path, words):
    """A file is in its place: exit code 6, and what to do."""
    (tmp_path / ".flowrunner").write_text("")
    shown = flowrunner(*words, folder=tmp_path, text="")
    assert (shown.returncode, "The folder .flowrunner cannot be made here" in shown.stderr) == (6, True), shown


@pytest.mark.parametrize("text", ["999999999w", "0001-01-01T00:00:00+14:00", "1969-12-31"])
def test_before_there_were_executions(text):
    """A time that nothing can have ended before is a slip of the pen."""
    with pytest.raises(ConfigurationError, match="is before 1970"):
        moment_of(text, 1_800_000_000_000)
