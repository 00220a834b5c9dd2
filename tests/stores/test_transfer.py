import json
import random
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import replace

import msgspec
import pytest

from flowrunner.clock import SystemClock
from flowrunner.errors import Conflict, InvalidDocument
from flowrunner.ports.documents import Document
from flowrunner.ports.executions import Chunk, Delivery
from flowrunner.stores.memory import MemoryStore
from flowrunner.stores.open import open_store
from flowrunner.stores.soundness import flaws
from flowrunner.stores.transfer import Put, lines, parsed, rows
from flowrunner.testing.conformance.archive import archived, over
from flowrunner.testing.conformance.definitions import example_activity, example_machine
from flowrunner.testing.conformance.examples import BLOBS, TEXTS, full

NOW = 1_700_000_000_000
USER = Document(account="123456789012", kind="user", id="ada", body=BLOBS["all"], version=3, aliases=("username:ada", "mail:ada"), expires_at=4_000_000_000_000)
DOCUMENTS = (
    Document(account="000000000000", kind="account", id="123456789012", body=b"", version=1),
    Document(account="123456789012", kind="audit", id="0" * 16, body=BLOBS["1 MiB"], version=1),
    USER,
)


def sound(number, **changes):
    """An execution that keeps every rule."""
    head = full(number, epoch=12, owner="n", stopped_at=None, **changes)
    return replace(archived(number, head=head), facts=((7, b"seven"), (9, b"\xffnine")))


@pytest.fixture
def executions():
    texts = [sound(number, input=text, cause=text) for number, text in enumerate(TEXTS.values(), 10)]
    blobs = [replace(sound(number), snapshot=blob, facts=((1, blob),)) for number, blob in enumerate(BLOBS.values(), 40)]
    empty = replace(sound(3), snapshot=None, facts=(), inbox=(), tasks=(), chunks=(), head=full(3, last_seq=0, stopped_at=None))
    return [sound(1), over(2), empty, *texts, *blobs]


@pytest.fixture
async def filled(executions):
    """A memory store with something of everything."""
    store = MemoryStore()
    machine = example_machine()
    lone = replace(machine.revision, id="a-of-a-machine-that-is-gone", settings={"big": 2**70, "float": 0.1, "deep": [[{"a": None}]]})
    for row in (machine.revision, lone, replace(machine, tags={"ü": "v"}, updated_at=5), example_activity(), *DOCUMENTS, *executions):
        put = Put(store.archive, strict=True)
        await put.put(row)
        await put.flush()
    return store


async def listed(store):
    return [row async for row in rows(store.archive)]


async def text_of(store):
    counts = Counter()
    return [line async for line in lines(store.archive, counts, now=NOW)]


async def taken_in(text, store, **settings):
    put = Put(store.archive, **settings)
    for row in parsed(text, "x.jsonl"):
        await put.put(row)
    await put.flush()
    return put


async def test_everything_arrives(filled, path, open_sqlite):
    """Memory to lines to SQLite to lines to memory: every row is equal, and so are the lines."""
    first = await text_of(filled)
    async with open_sqlite(path) as store:
        put = await taken_in(first, store)
        assert put.skipped == {}
        second = await text_of(store)
    assert second[1:] == first[1:]
    again = MemoryStore()
    put = await taken_in(first, again, strict=True)
    assert await listed(again) == await listed(filled)
    assert put.added == {"revisions": 2, "machines": 1, "activities": 1, "documents": 3, "executions": len(first) - 9}
    assert await text_of(again) == first


@pytest.fixture(params=["postgres_url", "dynamodb_url"])
def other_url(request):
    return request.getfixturevalue(request.param)


@pytest.mark.timeout(180)
async def test_everything_arrives_by_way_of(filled, other_url):
    """Through every other kind of store and back: the lines are equal."""
    first = await text_of(filled)
    async with AsyncExitStack() as stack:
        store = open_store(other_url, clock=SystemClock())
        await store.start(stack)
        put = await taken_in(first, store, strict=True)
        assert put.added.total() == len(first) - 2
        second = await text_of(store)
    assert [json.loads(line) for line in second[1:]] == [json.loads(line) for line in first[1:]]  # members in any order


async def test_a_second_time(filled):
    """What exists is skipped and counted; with strict the first one is named, and what came before it is told."""
    text = await text_of(filled)
    before = await listed(filled)
    put = await taken_in(text, filled)
    assert not put.added
    assert put.skipped == {"revisions": 2, "machines": 1, "activities": 1, "documents": 3, "executions": len(text) - 9}
    assert await listed(filled) == before
    with pytest.raises(Conflict, match="exists already; 0 rows were added") as caught:
        await taken_in(text, filled, strict=True)
    assert "--strict" in caught.value.remedy


async def test_a_cut_file_is_known(filled):
    """A file that ends anywhere before its end is refused, after the rows before the cut."""
    text = await text_of(filled)
    assert len(list(parsed(text, "x"))) == len(text) - 2
    for count in range(len(text)):
        with pytest.raises(InvalidDocument, match="it was cut"):
            list(parsed(text[:count], "x"))
    with pytest.raises(InvalidDocument, match=r"x:2: "):
        list(parsed([text[0], text[1][:50]], "x"))


async def test_more_than_one_export_in_a_file(filled):
    """What comes after the last line is not passed over in silence."""
    text = await text_of(filled)
    assert len(list(parsed([*text, b"\n", b" \n"], "x"))) == len(text) - 2
    with pytest.raises(InvalidDocument, match=f"x:{len(text) + 1}: it comes after the last line of an export"):
        list(parsed([*text, *text], "x"))


async def test_a_row_that_is_missing_or_there_twice(filled):
    """The last line counts."""
    text = await text_of(filled)
    with pytest.raises(InvalidDocument, match=r"it tells of 2 revisions.*but there were 1 revisions"):
        list(parsed([text[0], *text[2:]], "x"))
    with pytest.raises(InvalidDocument, match="but there were 3 revisions"):
        list(parsed([*text[:2], text[1], *text[2:]], "x"))


@pytest.mark.parametrize(
    ("first", "why"),
    [
        (b"SQLite format 3\0", "is not an export"),
        (b"\xff\xfe", "is not an export"),
        (b"[" * 100_000, "is not an export"),
        (b"{}", "is not an export"),
        (b'{"revision": null}', "is not an export"),
        (b'{"header": {"format": "else", "version": 1, "created_at": 1}}', "is not an export"),
        (b'{"header": {"format": "flowrunner-archive", "version": 3, "created_at": 1}}', "export of version 3; this release reads up to version 2"),
        (b'{"header": {"format": "flowrunner-archive"}}', "is not an export"),
        (b"", "is empty"),
    ],
)
def test_what_is_no_export(first, why):
    """Other files and other versions are refused at their first line."""
    with pytest.raises(InvalidDocument, match=why):
        list(parsed([first, b"x"], "x"))


@pytest.mark.parametrize("line", [b"", b"\n", b"{}", b'{"execution": 1}', b'{"unknown": {}}', b'{"execution": {"head": {}}}', b"nothing", b'{"end": [1]}'])
async def test_what_is_no_row(filled, line):
    """A line that is none is named by its number."""
    text = await text_of(filled)
    with pytest.raises(InvalidDocument, match=r"^x:3: "):
        list(parsed([*text[:2], line, *text[2:]], "x"))


UNSOUND = {
    "gap": {"chunks": (Chunk(1, 4, b"[1,2,3,4]"), Chunk(6, 2, b"[6,7]"))},
    "overlap": {"chunks": (Chunk(1, 4, b"[1,2,3,4]"), Chunk(4, 4, b"[4,5,6,7]"))},
    "beginning": {"chunks": (Chunk(2, 7, b"[]"),)},
    "empty chunk": {"chunks": (Chunk(1, 0, b"[]"), Chunk(1, 7, b"[]"))},
    "length": {"chunks": (Chunk(1, 4, b"[1,2,3,4]"),)},
    "another's place": {"chunks": (Chunk(1, 1 << 26, b""),), "head": full(1, last_seq=1 << 26, stopped_at=None)},
    "facts out of order": {"facts": ((2, b""), (1, b""))},
    "fact number": {"facts": ((1 << 26, b""),)},
    "facts below none": {"facts": ((-1, b""),)},
    "another's delivery": {"inbox": (Delivery("d", "e" * 32, b""),)},
    "another's task": {"tasks": archived(2).tasks},
    "task twice": {"tasks": archived(1).tasks[:1] * 2},
    "ended without time": {"head": full(1, status="FAILED", owner=None, stopped_at=None), "snapshot": None, "facts": (), "inbox": (), "tasks": ()},
    "ended with state": {"head": full(1, status="FAILED", owner=None)},
    "ended with owner": {"head": full(1, status="FAILED"), "snapshot": None, "facts": (), "inbox": (), "tasks": ()},
    "id": {"head": full(1, id="../../etc", stopped_at=None)},
    "seed": {"head": full(1, seed=b"", stopped_at=None)},
    "open and stopped": {"head": full(1)},
}


@pytest.mark.parametrize("changes", UNSOUND.values(), ids=UNSOUND.keys())
def test_what_does_not_fit_together_is_found(changes):
    """Each rule has an execution that breaks it, and only what breaks one is found."""
    assert list(flaws(replace(sound(1), **changes), bodies=False))


def test_what_fits_together(executions):
    """Sound executions have no flaw; a log whose bodies are not what they count has one."""
    for execution in executions:
        assert list(flaws(execution, bodies=False)) == []
    assert list(flaws(sound(1))) == []
    for body in (b"", b"{}", b"[1]", b"[1,2,3,4", b"\xff"):
        [flaw] = flaws(replace(sound(1), chunks=(Chunk(1, 4, body), sound(1).chunks[1])))
        assert "are not 4 objects" in flaw


async def test_a_file_of_version_1(filled):
    """What the release before documents wrote is taken in as ever."""
    text = [line for line in await text_of(filled) if not line.startswith(b'{"document"')]
    text[0] = text[0].replace(b'"version":2', b'"version":1')
    text[-1] = text[-1].replace(b'"documents":3,', b"")
    put = await taken_in(text, MemoryStore(), strict=True)
    assert put.added.total() == len(text) - 2


@pytest.mark.parametrize(
    "changes",
    [{"version": 0}, {"account": ""}, {"account": "12345678901x"}, {"kind": "User"}, {"id": ""}, {"body": bytes((1 << 20) + 1)}, {"aliases": ("a b",)}],
)
def test_an_unsound_document_is_not_taken_in(changes):
    """It is refused with its line."""
    header = b'{"header": {"format": "flowrunner-archive", "version": 2, "created_at": 1}}'
    line = msgspec.json.encode({"document": replace(USER, **changes)})
    with pytest.raises(InvalidDocument, match=r"^x:2: it is no document: "):
        list(parsed([header, line, b'{"end":{"documents":1}}'], "x"))


def unsound(line):
    row = json.loads(line)
    row["execution"]["head"]["last_seq"] += 1
    return json.dumps(row).encode()


async def test_an_unsound_execution_is_not_taken_in(filled):
    """It is refused with its line, before it can do harm."""
    text = await text_of(filled)
    place = next(number for number, line in enumerate(text) if b'"execution"' in line[:20])
    text[place] = unsound(text[place])
    with pytest.raises(InvalidDocument, match=rf"^x:{place + 1}: the execution 0+1 is not sound: its log has 7 records, its head says 8"):
        list(parsed(text, "x"))


async def test_changed_bytes(filled):
    """Of 2,000 files with changed bytes each is refused with a line, or its rows are rows; nothing else is raised."""
    text = b"".join((await text_of(filled))[:6])
    taken = 0
    for seed in range(2000):
        draw = random.Random(seed)
        copy = bytearray(text)
        for _ in range(draw.choice((1, 1, 5))):
            copy[draw.randrange(len(copy))] = draw.choice(b'"{}[],:0\\n\xff9a')
        try:
            taken += len(list(parsed(bytes(copy).splitlines(keepends=True), "x")))
        except InvalidDocument as error:
            assert error.message.startswith("x")
    assert taken == 0  # the last line is missing
