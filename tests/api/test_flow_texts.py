"""What a flow's text says of itself, through the whole application."""

import asyncio
import json

import pytest

from applications import serving

ONE = {"metadata": {"name": "Tagged", "tags": ["uniq"], "category": "etl", "custom": {"k": 1, "gone": None}}, "nodes": {"a": {"type": "transform"}}}


@pytest.fixture
async def client(tmp_path):
    async with serving(tmp_path, "http://localhost/api/v1", store="memory:") as (_, client):
        yield client


def with_metadata(**changes):
    """The flow with other metadata; None removes a member."""
    metadata = {name: value for name, value in {**ONE["metadata"], **changes}.items() if value is not None}
    return {"content": json.dumps({**ONE, "metadata": metadata})}


async def made(client, body):
    answer = await client.post("/flows", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


async def about(client, flow):
    info = (await client.get(f"/flows/{flow}/metadata")).json()
    return {name: info[name] for name in ("name", "description", "version", "tags", "category", "custom")}


async def found(client, **search):
    return [one["id"] for one in (await client.post("/flows/search", json=search)).json()]


async def test_a_text_is_found_by_what_it_says_of_itself(client):
    """Tags, category and custom of a new text are those of the flow."""
    flow = await made(client, with_metadata())
    assert await about(client, flow) == {"name": "Tagged", "description": "", "version": "1.0.0", "tags": ["uniq"], "category": "etl", "custom": {"k": 1}}
    assert await found(client, tags=["uniq"]) == await found(client, category="etl") == [flow]


async def test_another_text_changes_what_it_says_otherwise(client):
    """What was changed beside the text stays where the text says the same as before; the id stays when the name does not."""
    flow = await made(client, with_metadata(description="first"))
    await client.patch(f"/flows/{flow}/metadata", json={"tags": ["mine"], "category": "mine", "custom": {"k": 2, "own": 3}})
    expected = {"name": "Tagged", "description": "first", "version": "2", "tags": ["mine"], "category": "mine", "custom": {"k": 2, "own": 3}}
    assert (await client.put(f"/flows/{flow}", json=with_metadata(description="first", version="2"))).status_code == 204
    assert await about(client, flow) == expected
    assert (await client.put(f"/flows/{flow}", json=with_metadata(name="Renamed", tags=["new"], custom={"l": 5}))).status_code == 204
    assert await about(client, flow) == {
        "name": "Renamed", "description": "", "version": "1.0.0", "tags": ["new"], "category": "mine", "custom": {"own": 3, "l": 5},
    }  # fmt: skip
    assert await found(client, name_contains="renamed") == [flow]
    await client.put(f"/flows/{flow}", json=with_metadata(name="Renamed", tags=None, category=None, custom=None))
    assert await about(client, flow) == {"name": "Renamed", "description": "", "version": "1.0.0", "tags": [], "category": "", "custom": {"own": 3}}


async def test_a_name_given_beside_the_text_stays(client):
    """Until the text has another one."""
    flow = await made(client, {"name": "Beside", **with_metadata()})
    await client.put(f"/flows/{flow}", json=with_metadata(version=2))
    assert (await about(client, flow))["name"] == "Beside"
    await client.put(f"/flows/{flow}", json=with_metadata(name="Within"))
    assert (await about(client, flow))["name"] == "Within"


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("name", "n" * 257),
        ("description", "d" * 8193),
        ("version", "1" * 65),
        ("category", "c" * 129),
        ("tags", ["t"] * 51),
        ("tags", [""]),
        ("custom", {"a": "b" * 65_536}),
    ],
)
async def test_metadata_beyond_bounds_are_refused_where_they_stand(client, member, value):
    """A check says it as what would keep the text does."""
    body = with_metadata(**{member: value})
    checked = (await client.post("/flows/validate", json=body)).json()
    refused = await client.post("/flows", json=body)
    assert refused.status_code == 400
    for errors in (checked["errors"], refused.json()["errors"]):
        [error] = [one for one in errors if one["severity"] == "ERROR"]
        assert (error["pointer"], error["line"]) == (f"/metadata/{member}", 1)
        assert "at most" in error["detail"]


async def test_a_large_number_stays_whole(client):
    """In a text as in a body: what a node gave is shown as it is kept."""
    text = "metadata: {name: large}\nnodes:\n  a: {type: store, params: {op: set, key: k, value: 123456789012345678901234567890}}\n"
    flow = await made(client, {"content": text})
    started = await client.post(f"/flows/{flow}/run", content=b'{"input": {"n": 123456789012345678901234567890}}')
    execution = started.json()["execution_id"]
    async with asyncio.timeout(30):
        while (shown := await client.get(f"/executions/{execution}")).json()["status"] == "running":
            await asyncio.sleep(0)
    assert shown.json()["results"]["a"] == {"key": "k", "value": 123456789012345678901234567890}


async def test_a_workflow_beyond_bounds_is_refused_where_it_is(client):
    """Its name and description are those of its definition, too."""
    definition = {"name": "n" * 257, "description": "d" * 8193, "steps": {"a": {"type": "delay", "config": {"duration": 1}}}}
    checked = (await client.post("http://localhost/api/v2/workflows/validate", json={"definition": definition})).json()
    assert [error["pointer"] for error in checked["errors"]] == ["/definition/name", "/definition/description"]
