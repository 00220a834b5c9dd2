"""Commands that move a store: ``db backup``, ``restore``, ``export`` and ``import``."""

from __future__ import annotations

import os
import stat
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO
from urllib.parse import quote

import typer

from flowrunner.cli.options import Config, Database, Json, Output, Quiet, form_of, settings_of
from flowrunner.cli.output import Form, say, show_document, wait_for
from flowrunner.errors import ConfigurationError, StoreRefused

if TYPE_CHECKING:
    from flowrunner.ports.store import Store as OpenStore

STANDARD = "-"
CONTENTS = ("executions", "revisions", "machines", "activities", "documents")
IMPORT_WHY = "Importing writes to the file, and an SQLite file has one server that writes."
RESTORE_WHY = "A store is restored before its server starts."
New = Annotated[Path, typer.Argument(metavar="FILE", help="A new file; what exists is never written over.")]


def backup(file: New, *, store: Database = None, config: Config = None, output: Output = Form.table, json: Json = False, quiet: Quiet = False) -> None:
    """Write a backup of a store, as of one moment. A server may be running meanwhile.

    The backup of an SQLite file is an SQLite file; of every other store it is what db export writes, and as whole as that.

    Example: flowrunner db backup backup.db --store sqlite:///orders.db
    """
    from flowrunner.cli.dbstore import new_file, upkeep_of  # noqa: PLC0415  # --help does not pay for it
    from flowrunner.ports.upkeep import FileUpkeep  # noqa: PLC0415  # as above

    settings = settings_of(config, store=store)
    upkeep = upkeep_of(settings.store)
    counts: Counter[str] = Counter()
    with new_file(file):
        if isinstance(upkeep, FileUpkeep):
            wait_for(upkeep.back_up(file))
        else:
            counts, whole = wait_for(_export(settings.store, str(file)))
            _warn(whole=whole)
        size = file.stat().st_size
    show_document({"file": str(file), "bytes": size, **counts}, form_of(output, json))
    say(f"Restore it with: flowrunner db restore {file} --store URL", quiet=quiet)


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What db backup or db export wrote.")],
    *,
    store: Database = None,
    config: Config = None,
    output: Output = Form.table,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fill an empty or absent store from a backup or an export. No server may be using it.

    What ran at the moment of the backup goes on when a server starts: attempts that were under way are outcome unknown, and run
    again only where Retry says so or the function is registered as idempotent. See the page Back up and move.

    Example: flowrunner db restore backup.db --store sqlite:///restored.db
    """
    from flowrunner.cli.dbstore import is_sqlite, upkeep_of  # noqa: PLC0415  # as above
    from flowrunner.config import make_folder, redacted  # noqa: PLC0415  # as above
    from flowrunner.ports.upkeep import FileUpkeep  # noqa: PLC0415  # as above

    settings = settings_of(config, store=store)
    upkeep = upkeep_of(settings.store)
    from_sqlite = is_sqlite(file)
    if from_sqlite and isinstance(upkeep, FileUpkeep):  # page by page, and all or nothing
        make_folder(settings.store)
        wait_for(upkeep.restore(file))
        counts = wait_for(_contents(settings.store))
    else:
        counts = wait_for(_restore(settings.store, file, f"sqlite:///{quote(str(file.resolve()))}" if from_sqlite else None))
    show_document(counts, form_of(output, json))
    say(f"Restored. What was running goes on with: flowrunner serve --store {redacted(settings.store)}", quiet=quiet)


def export(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A new file, or - for standard output.")],
    *,
    store: Database = None,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Write everything of a store as JSON Lines, which any other store takes in. A server may be running meanwhile.

    The export is of one moment, except DynamoDB's: there each execution is of a moment of its own, and the command says so.

    Example: flowrunner db export orders.jsonl --store sqlite:///orders.db
    """
    from flowrunner.cli.dbstore import new_file  # noqa: PLC0415  # as above

    settings = settings_of(config, store=store)
    with nullcontext() if file == STANDARD else new_file(Path(file)):
        counts, whole = wait_for(_export(settings.store, file))
    _warn(whole=whole)
    say(f"Exported {_told(counts)}. Take it in with: flowrunner db import {file} --store URL", quiet=quiet)


def import_(
    file: Annotated[str, typer.Argument(metavar="FILE", help="What db export wrote; - is standard input.")],
    *,
    strict: Annotated[bool, typer.Option("--strict", help="Fail at the first thing that exists already.")] = False,
    store: Database = None,
    config: Config = None,
    output: Output = Form.table,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Take in what db export wrote. What exists is left as it is; an import that was interrupted can be repeated.

    Importing into an SQLite file needs it alone: stop its server first.

    Example: flowrunner db import orders.jsonl --store sqlite:///other.db
    """
    settings = settings_of(config, store=store)
    if file != STANDARD:
        _look_at(Path(file))

    async def work() -> tuple[Counter[str], Counter[str]]:
        from flowrunner.cli.dbstore import writing  # noqa: PLC0415  # as above
        from flowrunner.stores.transfer import Put, parsed  # noqa: PLC0415  # as above

        async with writing(settings.store, IMPORT_WHY) as opened:
            put = Put(opened.archive, strict=strict)
            with closing(_lines(file)) as given:
                for row in parsed(given, "standard input" if file == STANDARD else file):
                    await put.put(row)
                await put.flush()
            return put.added, put.skipped

    added, skipped = wait_for(work())
    show_document({"added": dict(added), "skipped": dict(skipped)}, form_of(output, json))
    say(f"Added {_told(added)}; {skipped.total()} existed already.", quiet=quiet)


async def _export(url: str, file: str) -> tuple[Counter[str], bool]:
    """Write the lines, to a file that has its name only when it is complete; tell the counts, and whether they are of one moment."""
    from flowrunner.cli.dbstore import reading  # noqa: PLC0415  # as above
    from flowrunner.clock import SystemClock  # noqa: PLC0415  # as above
    from flowrunner.stores.transfer import lines  # noqa: PLC0415  # as above

    counts: Counter[str] = Counter()
    async with reading(url) as opened, opened.archive.moment() as whole:
        with _output(file) as out:
            async for line in lines(opened.archive, counts, now=SystemClock().now()):
                out.write(line)
    return counts, whole


@contextmanager
def _output(file: str) -> Iterator[BinaryIO]:
    if file == STANDARD:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    partial = Path(f"{file}.partial")
    try:
        partial.unlink(missing_ok=True)  # of an export that was killed, or somebody else's: what is opened must be new and ours
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def _look_at(file: Path) -> None:
    """Whether there is such a file, before a store is made for it; a pipe will do, such as the shell's ``<(...)``. Raises ConfigurationError."""
    try:
        mode = file.stat().st_mode
    except FileNotFoundError:
        raise ConfigurationError(f"There is no file {file}.") from None
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror or error}.") from None
    if stat.S_ISDIR(mode):
        raise ConfigurationError(f"{file} is a folder.", remedy="Name the file that db export wrote.")


def _lines(file: str) -> BinaryIO:
    try:
        return sys.stdin.buffer if file == STANDARD else Path(file).open("rb")
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror or error}.") from None


async def _restore(url: str, file: Path, source: str | None) -> dict[str, int]:
    """Fill an empty store from lines, or row by row from the store `source`."""
    from flowrunner.cli.dbstore import reading, writing  # noqa: PLC0415  # as above
    from flowrunner.stores.transfer import Put, parsed, rows  # noqa: PLC0415  # as above

    if source is None:
        with closing(_lines(str(file))) as given:  # all of it is looked at before anything is written
            deque(parsed(given, str(file)), maxlen=0)
    async with writing(url, RESTORE_WHY) as opened:
        if any((await _sized(opened)).values()):
            raise StoreRefused("The store is not empty.", remedy="Restore into another, or add to this one with: flowrunner db import")
        put = Put(opened.archive, strict=True)
        if source is None:
            with closing(_lines(str(file))) as given:
                for row in parsed(given, str(file)):
                    await put.put(row)
        else:
            async with reading(source) as other, other.archive.moment():
                async for row in rows(other.archive):
                    await put.put(row)
        await put.flush()
        return await _sized(opened)


async def _contents(url: str) -> dict[str, int]:
    from flowrunner.cli.dbstore import reading  # noqa: PLC0415  # as above

    async with reading(url) as opened:
        return await _sized(opened)


async def _sized(opened: OpenStore) -> dict[str, int]:
    size = await opened.archive.size()
    return {kind: size[kind] for kind in CONTENTS}


def _warn(*, whole: bool) -> None:
    """Tell what an export beside a running server may lack."""
    if not whole:
        say("This store cannot be read at one moment: the export is only whole if no server was running.")


def _told(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in counts.items()) or "nothing"


COMMANDS: dict[str, Callable[..., None]] = {"backup": backup, "restore": restore, "export": export, "import": import_}
