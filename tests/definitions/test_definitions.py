"""Flows and workflows in every store: versions, metadata, searches, and who wins when two write."""

import asyncio
import json

import pytest

from flowrunner.definitions.entries import About
from flowrunner.definitions.search import Search
from flowrunner.errors import Conflict, InvalidDefinition, InvalidDocument, NotFound, PreconditionFailed

ACCOUNT, OTHER = "000000000001", "000000000002"


def text(result=1, comment="Orders"):
    return json.dumps({"Comment": comment, "StartAt": "A", "States": {"A": {"Type": "Pass", "Result": result, "End": True}}})


async def made(flows, name="Orders", **about):
    return await flows.create(ACCOUNT, text(), by="user:ada", about=About(name=name, **about))


async def test_create_and_read(flows, store):
    """A definition has an id made of its name, its first version, and a machine of the same name behind a slash."""
    kept = await made(flows, "Orders: the big ones!")
    one = kept.definition
    assert one.id.startswith("orders-the-big-ones-")
    assert await flows.get(ACCOUNT, one.id) == kept
    again, version, revision = await flows.revision(ACCOUNT, one.id)
    assert (again, version.number, revision.definition) == (kept, 1, text())
    assert revision.settings == {"format": "flow"}
    machine = await store.definitions.machine(ACCOUNT, f"flow/{one.id}")
    assert machine == await flows.machine(ACCOUNT, one.id)


async def test_what_is_not_there(flows):
    """Unknown ids, strange ids and those of other accounts are not found."""
    one = (await made(flows)).definition
    for account, name in ((ACCOUNT, "x"), (ACCOUNT, "a/b"), (ACCOUNT, "ü"), (ACCOUNT, ""), (OTHER, one.id)):
        for call in (flows.get(account, name), flows.revision(account, name), flows.update(account, name, by="x"), flows.delete(account, name)):
            with pytest.raises(NotFound):
                await call
    for number in (0, 2, -1):
        with pytest.raises(NotFound):
            await flows.revision(ACCOUNT, one.id, number)


async def test_what_is_not_valid(flows, store):
    """A text with errors is refused with its diagnostics, and nothing is kept."""
    with pytest.raises(InvalidDefinition) as caught:
        await flows.create(ACCOUNT, '{"StartAt": "A", "States": {}}', by="x", about=About(name="n"))
    assert caught.value.diagnostics
    assert (await flows.search(ACCOUNT, Search(), limit=10)).total == 0
    assert await store.definitions.machines(ACCOUNT) == []
    kept = await made(flows)
    with pytest.raises(InvalidDefinition):
        await flows.update(ACCOUNT, kept.definition.id, by="x", text="{}")
    assert await flows.get(ACCOUNT, kept.definition.id) == kept


async def test_versions(flows, store, clock):
    """Another text is another version; earlier ones stay readable, and the same text is none."""
    name = (await made(flows)).definition.id
    clock.jump(1)
    for number in (2, 2, 3):
        await flows.update(ACCOUNT, name, by="user:bob", text=text(number))
    kept = await flows.get(ACCOUNT, name)
    assert [(version.number, version.created_by) for version in kept.definition.versions] == [(1, "user:ada"), (2, "user:bob"), (3, "user:bob")]
    assert kept.definition.updated_at == clock.now() == kept.definition.created_at + 1000
    for number, result in ((1, 1), (2, 2), (3, 3), (None, 3)):
        assert (await flows.revision(ACCOUNT, name, number))[2].definition == text(result)
    machine = await store.definitions.machine(ACCOUNT, f"flow/{name}")
    assert machine.revision.definition == text(3)


async def test_expected_tag(flows):
    """A writer that names the tag it has read changes nothing else."""
    kept = await made(flows)
    name = kept.definition.id
    after = await flows.update(ACCOUNT, name, by="x", text=text(2), expected=kept.tag)
    assert after.tag == kept.tag + 1
    for call in (flows.update(ACCOUNT, name, by="x", text=text(3), expected=kept.tag), flows.delete(ACCOUNT, name, expected=kept.tag)):
        with pytest.raises(PreconditionFailed):
            await call
    assert await flows.get(ACCOUNT, name) == after


async def test_concurrent_updates(flows, store):
    """Of writers at once without an expected tag none is lost, with one exactly one wins; the machine is the last version."""
    kept = await made(flows)
    name = kept.definition.id
    await asyncio.gather(*(flows.update(ACCOUNT, name, by="x", text=text(10 + number)) for number in range(5)))
    after = await flows.get(ACCOUNT, name)
    assert [version.number for version in after.definition.versions] == [1, 2, 3, 4, 5, 6]
    machine = await store.definitions.machine(ACCOUNT, f"flow/{name}")
    assert machine.revision.id == after.definition.latest.revision
    answers = await asyncio.gather(
        *(flows.update(ACCOUNT, name, by="x", text=text(20 + number), expected=after.tag) for number in range(5)), return_exceptions=True
    )
    assert [type(answer) for answer in answers if isinstance(answer, Exception)] == [PreconditionFailed] * 4


async def test_concurrent_creates(workflows, store):
    """Of several that take one id one wins, and the machine is that one's."""
    calls = (workflows.create(ACCOUNT, text(number), by="x", about=About(), name="same") for number in range(5))
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(answer, Conflict) for answer in answers) == 4
    _, _, revision = await workflows.revision(ACCOUNT, "same")
    assert (await store.definitions.machine(ACCOUNT, "workflow/same")).revision == revision


async def test_delete(flows, store):
    """A deleted definition is gone with its machine; its id is free."""
    name = (await made(flows)).definition.id
    await flows.delete(ACCOUNT, name)
    with pytest.raises(NotFound):
        await flows.get(ACCOUNT, name)
    assert await store.definitions.machine(ACCOUNT, f"flow/{name}") is None
    again = await flows.create(ACCOUNT, text(5), by="x", about=About(), name=name)
    assert [version.number for version in again.definition.versions] == [1]
    assert (await store.definitions.machine(ACCOUNT, f"flow/{name}")).revision.definition == text(5)


async def test_ids(workflows):
    """An id of one's own is one that a path can hold and that no path means otherwise."""
    for name in ("", "a/b", "runs", "validate", "-a", "ü", "a" * 129, "a b"):
        with pytest.raises(InvalidDocument):
            await workflows.create(ACCOUNT, text(), by="x", about=About(), name=name)
    kept = await workflows.create(ACCOUNT, text(), by="x", about=About(), name="test-websocket-workflow")
    assert kept.definition.name == "Orders"
    with pytest.raises(Conflict):
        await workflows.create(ACCOUNT, text(), by="x", about=About(), name="test-websocket-workflow")


async def test_metadata(flows):
    """Metadata changes by parts, custom is merged and null removes; the text stays at its version."""
    name = (await made(flows, tags=("a",), custom={"x": 1, "y": {"z": 2}})).definition.id
    await flows.update(ACCOUNT, name, by="x", about=About(status="published", category="etl", custom={"x": None, "w": [1]}))
    one = (await flows.get(ACCOUNT, name)).definition
    assert (one.status, one.category, one.tags, one.custom) == ("published", "etl", ("a",), {"y": {"z": 2}, "w": [1]})
    assert len(one.versions) == 1
    for wrong in (About(name="n" * 257), About(tags=("",)), About(tags=("t",) * 51), About(custom={"a": "b" * 70_000})):
        with pytest.raises(InvalidDocument):
            await flows.update(ACCOUNT, name, by="x", about=wrong)


async def test_search(flows, workflows, clock):
    """Every condition counts, texts without regard to case, any of the tags; another account's and another format's are not found."""
    start = clock.now()
    facts = (("Alpha", ("x",), "one"), ("beta ALPHA", ("y", "z"), "one"), ("Gamma", (), "two"))
    for name, tags, category in facts:
        await made(flows, name, tags=tags, category=category, description=f"about {name}")
        clock.jump(60)
    await made(workflows, "Alpha workflow")
    await flows.create(OTHER, text(), by="x", about=About(name="Alpha of others"))

    async def names(**search):
        return [found.name for found in (await flows.search(ACCOUNT, Search(**search), limit=10)).rows]

    assert await names() == ["Alpha", "beta ALPHA", "Gamma"]
    assert await names(name_contains="alpha") == ["Alpha", "beta ALPHA"]
    assert await names(description_contains="GAMMA") == ["Gamma"]
    assert await names(tags=("x", "z")) == ["Alpha", "beta ALPHA"]
    assert await names(category="one", tags=("y",)) == ["beta ALPHA"]
    assert await names(status="draft") == ["Alpha", "beta ALPHA", "Gamma"]
    assert await names(status="published") == []
    assert await names(created_after=start + 60_000) == ["beta ALPHA", "Gamma"]
    assert await names(created_after=start + 1, created_before=start + 60_000) == ["beta ALPHA"]
    assert await names(updated_before=start) == ["Alpha"]


async def test_pages(flows):
    """Pages by number and pages after an id cut the same list, whole and without a repetition."""
    for number in range(7):
        await made(flows, f"flow {number}")
    everything = [one.id for one in (await flows.search(ACCOUNT, Search(), limit=100)).rows]
    assert len(everything) == 7
    by_number = [one.id for page in range(4) for one in (await flows.search(ACCOUNT, Search(), limit=2, offset=2 * page)).rows]
    after, by_id = None, []
    while True:
        found = await flows.search(ACCOUNT, Search(), limit=2, after=after)
        assert found.total == 7
        by_id += [one.id for one in found.rows]
        if (after := found.following) is None:
            break
    assert by_number == by_id == everything
