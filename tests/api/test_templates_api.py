"""Action templates by REST."""

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


TEMPLATE = {
    "templateId": "log-in", "name": "Log in", "type": "http.request", "config": {"url": "{{url}}/login", "method": "POST"},
    "parameters": [{"name": "url", "required": True}, {"name": "retries", "type": "number", "default": 2}], "outputs": {"token": "body.token"},
}  # fmt: skip


async def test_life_of_a_template(ask):
    """Made, read, changed, copied, listed, deleted."""
    made = (await ask("POST", "/action-templates", TEMPLATE, 201)).json()
    assert {"templateId": "log-in", "version": 1, "scope": "project", "outputs": {"token": "body.token"}}.items() <= made.items()
    assert made["parameters"] == [{"name": "url", "required": True}, {"name": "retries", "type": "number", "default": 2}]
    assert (await ask("GET", "/action-templates/log-in")).json() == made
    changed = await ask("PUT", "/action-templates/log-in", {"description": "d"})
    assert (changed.json()["version"], changed.json()["name"]) == (2, "Log in")
    await ask("PUT", "/action-templates/log-in", {"name": "x"}, 412, headers={"if-match": '"1"'})
    copy = (await ask("POST", "/action-templates/log-in/copy", {}, 201)).json()
    assert (copy["name"], copy["version"], copy["config"]) == ("Log in (copy)", 1, TEMPLATE["config"])
    await ask("PUT", f"/action-templates/{copy['templateId']}", {"config": {}})
    assert (await ask("GET", "/action-templates/log-in")).json()["config"] == TEMPLATE["config"]
    for path in ("/action-templates", "/action-templates/accessible"):
        assert (await ask("GET", path)).json()["total"] == 2
    assert (await ask("GET", "/action-templates/log-in/usage")).json() == {"templateId": "log-in", "usageCount": 0, "workflows": []}
    await ask("DELETE", "/action-templates/log-in")
    await ask("GET", "/action-templates/log-in", status=404)


async def test_what_is_wrong_with_a_template(ask):
    """An id is given once, a type is one there is, a name is not empty."""
    await ask("POST", "/action-templates", TEMPLATE, 201)
    await ask("POST", "/action-templates", TEMPLATE, 409)
    await ask("POST", "/action-templates/log-in/copy", {"templateId": "log-in"}, 409)
    for wrong in ({"type": "none"}, {"name": ""}, {"templateId": "accessible"}, {"scope": "world"}, {"parameters": [{}]}, {"outputs": {"a": 1}}):
        await ask("POST", "/action-templates", {**TEMPLATE, "templateId": "x", **wrong}, 400)
    await ask("PUT", "/action-templates/log-in", {"type": "none"}, 400)
    for wrong, pointer in (
        ({"config": {"url": "{{"}}, "/config/url"), ({"config": {"url": "{{secrets.a}}{{b}}"}}, "/config/url"), ({"config": {"method": "GOT"}}, "/config/method"),
        ({"outputs": {"a": "x..y"}}, "/outputs/a"), ({"outputs": {"a": "{{b c}}"}}, "/outputs/a"), ({"outputs": {"a.b": "c"}}, "/outputs/a.b"), ({"type": "batch"}, "/type"),
        ({"parameters": [{"name": "a"}, {"name": "a"}]}, "/parameters/1/name"), ({"parameters": [{"name": "a.b"}]}, "/parameters/0/name"), ({"type": "htp"}, "/type"),
    ):  # fmt: skip
        for method, path, body in (("POST", "/action-templates", {**TEMPLATE, "templateId": "x", **wrong}), ("PUT", "/action-templates/log-in", wrong)):
            answer = await ask(method, path, body, 400)
            assert [(one["pointer"], one["line"]) for one in answer.json()["errors"]] == [(pointer, 1)]


async def test_templates_of_others(ask):
    """Another account has its own, a viewer changes none."""
    await ask("POST", "/action-templates", TEMPLATE, 201)
    assert (await ask("GET", "/action-templates", token=OTHER)).json()["total"] == 0
    for method, path, body in (("GET", "", None), ("PUT", "", {}), ("DELETE", "", None), ("POST", "/copy", {}), ("GET", "/usage", None)):
        await ask(method, f"/action-templates/log-in{path}", body, 404, token=OTHER)
    await ask("POST", "/action-templates", TEMPLATE, 403, token=VIEWER)
