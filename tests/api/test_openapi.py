"""The OpenAPI document says what the server does; made-up requests are answered as it says."""

import re

import httpx
import pytest
from accountsworld import accounts_world
from apicampaign import Campaign, served
from flowsworld import flows_world


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with served(tmp_path_factory.mktemp("served")) as url:
        yield url


@pytest.fixture(scope="module")
def document(url):
    return httpx.get(f"{url}/openapi.json", trust_env=False).json()


def test_every_operation(document):
    """Each has an id of its own, a summary, and every problem that any request may meet."""
    operations = [(method, path, operation) for path, methods in document["paths"].items() for method, operation in methods.items()]
    assert len(operations) > 60
    ids = [operation["operationId"] for _, _, operation in operations]
    assert len(set(ids)) == len(ids)
    for method, path, operation in operations:
        assert operation["summary"].endswith((".", ":")) or "`" in operation["summary"], path
        assert {"400", "403", "408", "413", "415", "429", "431", "503"} <= operation["responses"].keys()
        assert operation["security"] == [] or "401" in operation["responses"]
        assert any(status.startswith("2") for status in operation["responses"])
        assert {one["name"] for one in operation["parameters"] if one["in"] == "path"} == set(re.findall(r"\{(\w+)\}", path))
        assert method != "get" or "requestBody" not in operation


def test_references_resolve(document):
    """Every schema that is named is there."""
    named = set(re.findall(r'"\$ref":\s*"#/components/schemas/([^"]+)"', httpx.Response(200, json=document).text))
    assert named
    assert named <= document["components"]["schemas"].keys()


def test_the_stream_says_all_its_answers(url, document):
    """Events, and JSON for a long poll, as the server gives it."""
    (operation,) = [methods["get"] for path, methods in document["paths"].items() if path.endswith("/runs/{run}/stream")]
    content = operation["responses"]["200"]["content"]
    assert content.keys() == {"text/event-stream", "application/json"}
    schema = document["components"]["schemas"][content["application/json"]["schema"]["$ref"].rpartition("/")[2]]
    with httpx.Client(base_url=f"{url}/api/v2/workflows", trust_env=False) as client:
        definition = {"name": "w", "steps": {"a": {"type": "delay", "config": {"duration": "1ms"}}}}
        name = client.post("", json={"definition": definition}).json()["workflowId"]
        run = client.post(f"/{name}/execute").json()["runId"]
        answer = client.get(f"/runs/{run}/stream", params={"wait": "10s"})
    assert answer.headers["content-type"] == "application/json"
    assert answer.json().keys() == schema["properties"].keys() == set(schema["required"])


async def test_the_page_loads_nothing(document):
    """The page shows every operation, and neither script nor anything from elsewhere."""
    async with flows_world() as world:
        page = await world.client.get("/docs")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert not re.search(r"<script|(?:src|href)=\"https?:", page.text)
        for path in (await world.client.get("/openapi.json")).json()["paths"]:
            assert path in page.text


async def test_a_server_without_flows_says_so():
    """The document tells of the routes that this server has."""
    async with accounts_world() as world:
        paths = (await world.client.get("/openapi.json")).json()["paths"]
    assert "/api/v1/login" in paths
    assert "/api/v1/flows" not in paths


@pytest.mark.timeout(180)
def test_made_up_requests(url):
    """A few hundred, good and bad ones for every operation: no 5xx, no answer that is not in the document."""
    done = Campaign(url).run(examples=2)
    assert not done.wrong, "\n\n".join(done.wrong.values())
    assert sum(done.seen.values()) >= 300


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_many_made_up_requests(url):
    """Ten thousand."""
    done = Campaign(url).run(examples=100)
    assert not done.wrong, "\n\n".join(done.wrong.values())
    assert sum(done.seen.values()) >= 10_000
