"""Environments by REST: variables, inheritance, and exactly one active."""

import asyncio

import pytest
from accountsworld import TWO
from flowsworld import VIEWER, asker, flows_world

from flowrunner.identity.permissions import Role

OTHER = (TWO, Role.OWNER)


@pytest.fixture
async def world():
    async with flows_world() as made:
        yield made


@pytest.fixture
def ask(world):
    return asker(world, "/api/v2")


@pytest.fixture
async def made(ask):
    for name in ("dev", "prod"):
        await ask("POST", "/environments", {"envId": name, "name": name.title(), "variables": {"url": f"http://{name}", "retries": 3}}, 201)


async def test_life_of_an_environment(ask, made):
    """Made, read, changed, listed, deleted; types of values are kept."""
    one = (await ask("GET", "/environments/dev")).json()
    assert {"envId": "dev", "name": "Dev", "isActive": False, "variables": {"url": "http://dev", "retries": 3}}.items() <= one.items()
    values = {"a": 1, "b": 1.5, "c": True, "d": None, "e": [1], "f": {"g": "h"}}
    changed = await ask("PUT", "/environments/dev", {"variables": values})
    assert changed.json()["variables"] == values
    assert changed.json()["name"] == "Dev"
    assert (await ask("GET", "/environments")).json()["total"] == 2
    await ask("PUT", "/environments/dev", {"name": "x"}, 412, headers={"if-match": '"1"'})
    await ask("DELETE", "/environments/dev")
    await ask("GET", "/environments/dev", status=404)
    await ask("POST", "/environments", {"envId": "prod", "name": "again"}, 409)
    for wrong in ({"name": ""}, {"name": "x", "envId": "active"}, {"name": "x", "envId": "a/b"}, {"name": "x", "parentId": "none"}, {}):
        await ask("POST", "/environments", wrong, 400)


async def test_one_is_active(ask, made):
    """None at first; then the one that was activated last; that one cannot be deleted."""
    await ask("GET", "/environments/active", status=404)
    assert (await ask("POST", "/environments/dev/activate")).json()["isActive"]
    assert (await ask("DELETE", "/environments/dev", status=409)).json()["code"] == "conflict"
    await ask("POST", "/environments/prod/activate")
    assert (await ask("GET", "/environments/active")).json()["envId"] == "prod"
    assert [one["isActive"] for one in (await ask("GET", "/environments")).json()["data"]] == [False, True]
    await ask("DELETE", "/environments/dev")
    await ask("POST", "/environments/none/activate", status=404)


async def test_a_parent_stays(ask, made):
    """What others inherit from is not deleted: they would lose variables, the active one too. Each of them is named."""
    await ask("POST", "/environments", {"envId": "child", "name": "Child", "parentId": "dev"}, 201)
    await ask("POST", "/environments/child/activate")
    problem = (await ask("DELETE", "/environments/dev", status=409)).json()
    assert problem["code"] == "conflict"
    assert "child" in problem["detail"]
    assert (await ask("GET", "/environments/child/variables")).json()["variables"]["url"] == "http://dev"
    await ask("PUT", "/environments/child", {"parentId": None})
    await ask("DELETE", "/environments/dev")


async def test_concurrent_activation(ask):
    """Whoever activates at once, exactly one is active; what is deleted at once is not."""
    names = [f"e{number}" for number in range(8)]
    for name in names:
        await ask("POST", "/environments", {"envId": name, "name": name}, 201)
    await asyncio.gather(*(ask("POST", f"/environments/{name}/activate") for name in names))
    assert [one["isActive"] for one in (await ask("GET", "/environments")).json()["data"]].count(True) == 1


async def test_variables(ask, made):
    """Single variables are set, read and removed; a parent's hold where there is none of one's own."""
    assert (await ask("PUT", "/environments/dev/variables/n", {"value": {"x": [1]}})).json() == {"key": "n", "value": {"x": [1]}}
    assert (await ask("GET", "/environments/dev/variables/n")).json() == {"key": "n", "value": {"x": [1]}}
    await ask("POST", "/environments", {"envId": "local", "name": "Local", "parentId": "dev", "variables": {"url": "http://localhost"}}, 201)
    assert (await ask("GET", "/environments/local/variables")).json() == {"variables": {"url": "http://localhost", "retries": 3, "n": {"x": [1]}}}
    assert (await ask("GET", "/environments/local/variables/retries")).json()["value"] == 3
    await ask("DELETE", "/environments/dev/variables/n")
    await ask("DELETE", "/environments/dev/variables/n", status=404)
    await ask("GET", "/environments/local/variables/n", status=404)
    problem = (await ask("PUT", "/environments/dev", {"parentId": "local"}, 400)).json()
    assert "dev -> local -> dev" in problem["detail"]


async def test_runs_get_them(world, ask, made):
    """A run is given the active environment's variables beside its own: the machine puts them below the definition's."""
    definition = {"StartAt": "A", "Comment": "c", "variables": {"retries": 9}, "States": {"A": {"Type": "Pass", "End": True}}}
    await ask("POST", "/workflows", {"workflowId": "w", "definition": {name: part for name, part in definition.items() if name != "variables"}}, 201)
    await ask("POST", "/environments/dev/activate")
    run = (await ask("POST", "/workflows/w/execute", {"variables": {"url": "mine"}}, 202)).json()["runId"]
    assert (await ask("GET", f"/workflows/runs/{run}")).json()["input"] == {"variables": {"url": "mine"}, "environment": {"url": "http://dev", "retries": 3}}
    assert (await ask("GET", f"/workflows/runs/{run}")).json()["context"]["variables"] == {"url": "mine", "retries": 3}


async def test_environments_of_others(ask, made):
    """Another account has its own, a viewer changes none."""
    assert (await ask("GET", "/environments", token=OTHER)).json()["total"] == 0
    await ask("GET", "/environments/dev", status=404, token=OTHER)
    await ask("POST", "/environments/dev/activate", status=404, token=OTHER)
    await ask("POST", "/environments", {"name": "x"}, 403, token=VIEWER)
