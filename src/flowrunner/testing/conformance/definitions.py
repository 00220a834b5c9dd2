"""Machines, revisions, tags and activities."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from flowrunner.errors import NotFound
from flowrunner.ports.definitions import Activity, Machine, Revision
from flowrunner.testing.conformance.examples import ACCOUNT, START, TEXTS

if TYPE_CHECKING:
    from flowrunner.ports.store import Store

SETTINGS: dict[str, Any] = {"loggingConfiguration": {"level": "ALL", "destinations": [{"x": "ü\0😀"}]}, "tracing": None, "n": [1, 2.5, True]}


def example_revision(number: int = 1, **changes: Any) -> Revision:
    """A revision of the machine `orders`."""
    plain = Revision(
        id=f"revision-{number}",
        account=ACCOUNT,
        machine="orders",
        definition=f'{{"StartAt":"S{number}"}}',
        role_arn="arn:aws:iam::123456789012:role/r",
        created_at=START + number,
        settings=SETTINGS,
    )
    return replace(plain, **changes)


def example_machine(number: int = 1, **changes: Any) -> Machine:
    """The machine `orders`."""
    name = changes.get("name", "orders")
    plain = Machine(account=ACCOUNT, name=name, type="STANDARD", created_at=START, revision=example_revision(number, machine=name), tags={"a": "1"})
    return replace(plain, **changes)


def example_activity(**changes: Any) -> Activity:
    """An activity."""
    return replace(Activity(account=ACCOUNT, name="approve", created_at=START, tags={"k": "v"}, settings=SETTINGS), **changes)


@pytest.mark.asyncio
class DefinitionStoreConformance:
    """Every sentence of `ports.definitions`."""

    async def test_create_and_read_a_machine(self, store: Store) -> None:
        """A machine is stored as given, with its first revision."""
        machine = example_machine(updated_at=START + 9, type="EXPRESS")
        assert await store.definitions.create_machine(machine) == machine
        assert await store.definitions.machine(ACCOUNT, "orders") == machine
        assert await store.definitions.revision("revision-1") == machine.revision

    async def test_unknown_definitions(self, store: Store) -> None:
        """What is not there is None, an empty page or NotFound; deleting it is no error."""
        of = store.definitions
        assert await of.machine(ACCOUNT, "x") is None
        assert await of.revision("x") is None
        assert await of.activity(ACCOUNT, "x") is None
        assert await of.machines(ACCOUNT) == []
        assert await of.activities(ACCOUNT) == []
        await of.delete_machine(ACCOUNT, "x")
        await of.delete_activity(ACCOUNT, "x")
        for call in (of.update_machine(ACCOUNT, "x", example_revision()), of.tag_machine(ACCOUNT, "x", {}), of.tag_activity(ACCOUNT, "x", {})):
            with pytest.raises(NotFound):
                await call
        assert await of.revision("revision-1") is None

    async def test_creating_a_machine_again(self, store: Store) -> None:
        """A second create changes nothing, whatever it holds, and returns the stored machine; its revision is not kept."""
        first = await store.definitions.create_machine(example_machine())
        second = example_machine(2, type="EXPRESS", created_at=START + 7, tags={"b": "2"})
        assert await store.definitions.create_machine(second) == first
        assert await store.definitions.machine(ACCOUNT, "orders") == first
        assert await store.definitions.revision("revision-2") is None

    async def test_100_creates_of_one_machine(self, store: Store) -> None:
        """Of 100 concurrent creates one wins, and all get its machine."""
        answers = await asyncio.gather(*(store.definitions.create_machine(example_machine(number)) for number in range(100)))
        assert all(answer == answers[0] for answer in answers)
        assert await store.definitions.machine(ACCOUNT, "orders") == answers[0]

    async def test_update_of_a_machine(self, store: Store) -> None:
        """An update makes its revision current and sets updated_at to the revision's time; the old revision stays readable."""
        first = await store.definitions.create_machine(example_machine())
        updated = await store.definitions.update_machine(ACCOUNT, "orders", example_revision(2))
        assert updated == replace(first, revision=example_revision(2), updated_at=START + 2)
        assert await store.definitions.machine(ACCOUNT, "orders") == updated
        assert await store.definitions.revision("revision-1") == first.revision
        assert await store.definitions.revision("revision-2") == example_revision(2)

    async def test_a_revision_never_changes(self, store: Store) -> None:
        """An update with the id of a revision that is there makes that one current, unchanged."""
        first = await store.definitions.create_machine(example_machine())
        await store.definitions.update_machine(ACCOUNT, "orders", example_revision(2))
        back = await store.definitions.update_machine(ACCOUNT, "orders", example_revision(1, definition="other"))
        assert back.revision == first.revision

    async def test_delete_of_a_machine(self, store: Store) -> None:
        """A deleted machine is gone, its revisions stay, its name is free again."""
        await store.definitions.create_machine(example_machine())
        await store.definitions.delete_machine(ACCOUNT, "orders")
        assert await store.definitions.machine(ACCOUNT, "orders") is None
        assert await store.definitions.machines(ACCOUNT) == []
        assert await store.definitions.revision("revision-1") == example_revision()
        again = example_machine(2, created_at=START + 50)
        assert await store.definitions.create_machine(again) == again

    async def test_tags(self, store: Store) -> None:
        """Tags are replaced as a whole, for machines and for activities, and nothing else changes."""
        machine = await store.definitions.create_machine(example_machine())
        activity = await store.definitions.create_activity(example_activity())
        for tags in ({"x": "ü😀", "y": ""}, {}, {"only": "one"}):
            await store.definitions.tag_machine(ACCOUNT, "orders", tags)
            await store.definitions.tag_activity(ACCOUNT, "approve", tags)
            assert await store.definitions.machine(ACCOUNT, "orders") == replace(machine, tags=tags)
            assert await store.definitions.activity(ACCOUNT, "approve") == replace(activity, tags=tags)

    async def test_what_is_stored_is_a_copy(self, store: Store) -> None:
        """A caller that changes its settings and tags afterwards does not change what is stored."""
        settings: dict[str, Any] = {"deep": {"list": [1]}}
        tags = {"a": "1"}
        await store.definitions.create_machine(example_machine(tags=tags, revision=example_revision(settings=settings)))
        await store.definitions.create_activity(example_activity(tags=tags, settings=settings))
        settings["deep"]["list"].append(2)
        tags["b"] = "2"
        machine = await store.definitions.machine(ACCOUNT, "orders")
        activity = await store.definitions.activity(ACCOUNT, "approve")
        assert machine is not None
        assert activity is not None
        assert machine.tags == activity.tags == {"a": "1"}
        assert machine.revision.settings == activity.settings == {"deep": {"list": [1]}}

    async def test_numbers_of_settings(self, store: Store) -> None:
        """Numbers come back as they were, whole ones beyond 64 bits too: a workflow's settings hold the templates that it names."""
        settings = {"numbers": [2**63 - 1, 2**64, -(2**70), int("9" * 999), 0.1, 1e300, 7]}
        await store.definitions.create_machine(example_machine(revision=example_revision(settings=settings)))
        await store.definitions.create_activity(example_activity(settings=settings))
        stored = await store.definitions.machines(ACCOUNT)
        assert [one.revision.settings for one in stored] == [settings]
        assert [one.settings for one in await store.definitions.activities(ACCOUNT)] == [settings]

    async def test_accounts_are_apart(self, store: Store) -> None:
        """A name belongs to an account: the other account's machine and activity are others."""
        await store.definitions.create_machine(example_machine())
        await store.definitions.create_activity(example_activity())
        other = example_machine(2, account="999999999999", revision=example_revision(2, account="999999999999"))
        assert await store.definitions.create_machine(other) == other
        assert await store.definitions.activity("999999999999", "approve") is None
        await store.definitions.delete_machine(ACCOUNT, "orders")
        await store.definitions.delete_activity("999999999999", "approve")
        assert await store.definitions.machine("999999999999", "orders") == other
        assert await store.definitions.activity(ACCOUNT, "approve") == example_activity()

    async def test_pages_of_definitions(self, store: Store) -> None:
        """Pages go by name, ascending in code points, and begin after the last name of the page before."""
        names = ["B", "a", "aa", "a-1", "b", "z", "ß", "漢", "😀", "\uffee", "0", "flow/a", "flow/a-1", "flow0", "workflow/a", "/", "a/"]
        for number, name in enumerate(names):
            await store.definitions.create_machine(example_machine(number, name=name))
            await store.definitions.create_activity(example_activity(name=name))
        for size in (1, 2, 3, 100):
            for read in (store.definitions.machines, store.definitions.activities):
                seen: list[str] = []
                while page := await read(ACCOUNT, limit=size, after=seen[-1] if seen else None):
                    assert len(page) <= size
                    seen += [thing.name for thing in page]
                assert seen == sorted(names)

    async def test_names_with_a_slash(self, store: Store) -> None:
        """The machine of a flow is named with its format and a slash; it is another than that of the plain name."""
        machines = [example_machine(number, name=name) for number, name in enumerate(("flow/a", "workflow/a", "a", "flow"))]
        for machine in machines:
            assert await store.definitions.create_machine(machine) == machine
        for machine in machines:
            assert await store.definitions.machine(ACCOUNT, machine.name) == machine
        changed = await store.definitions.update_machine(ACCOUNT, "flow/a", example_revision(9, machine="flow/a"))
        assert changed.revision.id == "revision-9"
        await store.definitions.delete_machine(ACCOUNT, "workflow/a")
        assert [machine.name for machine in await store.definitions.machines(ACCOUNT)] == ["a", "flow", "flow/a"]

    async def test_pages_hold_whole_things(self, store: Store) -> None:
        """A page shows machines with their current revision and activities with all they have."""
        await store.definitions.create_machine(example_machine())
        updated = await store.definitions.update_machine(ACCOUNT, "orders", example_revision(2))
        await store.definitions.create_activity(example_activity())
        assert await store.definitions.machines(ACCOUNT) == [updated]
        assert await store.definitions.activities(ACCOUNT) == [example_activity()]

    @pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
    async def test_texts_of_definitions(self, store: Store, text: str) -> None:
        """Every Unicode text comes back as it was, from 0 to 1 MiB."""
        short = text[:80]
        machine = example_machine(
            name=f"n{short}",
            tags={short: text},
            revision=example_revision(definition=text, role_arn=short, machine=f"n{short}", settings={short: text}),
        )
        activity = example_activity(name=f"n{short}", tags={short: text}, settings={short: [text]})
        assert await store.definitions.create_machine(machine) == machine
        assert await store.definitions.create_activity(activity) == activity
        assert await store.definitions.machine(ACCOUNT, f"n{short}") == machine
        assert await store.definitions.activity(ACCOUNT, f"n{short}") == activity

    async def test_creating_an_activity_again(self, store: Store) -> None:
        """A second create changes nothing and returns the stored activity; after a delete the name is free."""
        first = await store.definitions.create_activity(example_activity())
        other = example_activity(created_at=START + 1, tags={}, settings={})
        assert await store.definitions.create_activity(other) == first
        await store.definitions.delete_activity(ACCOUNT, "approve")
        assert await store.definitions.activity(ACCOUNT, "approve") is None
        assert await store.definitions.create_activity(other) == other
