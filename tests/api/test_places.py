"""Where problems say that something is wrong: places in the body as it was sent."""

import pytest

from applications import serving

STEPS = '{\n      "a": {\n        "type": "transfrom"\n      }\n    }'
WORKFLOW = f'{{\n  "workflowId": "w",\n  "definition": {{\n    "name": "w",\n    "steps": {STEPS}\n  }}\n}}'
TEST = f'{{\n  "testId": "t",\n  "groupId": "g",\n  "name": "t",\n  "type": "steps",\n  "steps":\n    {STEPS}\n}}'


@pytest.fixture
async def send(tmp_path):
    async with serving(tmp_path) as (_, client):

        async def sent(path, body, status=400, method="POST"):
            answer = await client.request(method, path, content=body, headers={"content-type": "application/json"})
            assert answer.status_code == status, answer.text
            return answer.json()

        yield sent


def place(problem):
    error = problem["errors"][0]
    return error["pointer"], error["line"], error["column"]


async def test_a_definition_has_the_lines_of_the_body(send):
    """Line and column of a definition that is an object are those of the request, in `detail` and in `errors`."""
    refused = await send("/api/v2/workflows", WORKFLOW)
    assert place(refused) == ("/definition/steps/a/type", 7, 9)
    assert "7:9: error" in refused["detail"]
    assert place(await send("/api/v2/workflows/validate", WORKFLOW, 200)) == ("/definition/steps/a/type", 7, 9)


async def test_a_test_case_has_the_lines_of_the_body(send):
    """A test case is checked as another text, and yet the place told is that of the request; what the request does not have has no line."""
    refused = await send("/api/v2/tests", TEST)
    assert place(refused) == ("/steps/a/type", 9, 9)
    assert "9:9: error" in refused["detail"]
    await send("/api/v2/groups", '{"groupId": "g", "name": "g"}', 201)
    await send(
        "/api/v2/tests", TEST.replace("transfrom", "transform").replace('"type": "transform"', '"type": "transform", "config": {"script": "return 1"}'), 201
    )
    assert place(await send("/api/v2/tests/t", '{\n "steps": {"a": {"type": "transfrom"}}}', 400, "PUT")) == ("/steps/a/type", 2, 18)


@pytest.mark.parametrize(
    ("body", "wanted", "hint"),
    [
        ('{"name": 1}', ("/name", 1, 2), "Write a value of the kind"),
        ('{"name": "x",\n "nope": 1}', ("/nope", 2, 2), "Take it out. The body may have"),
        ('{"workflowId": "x"}', ("/definition", 1, 1), "Add it."),
        ("[1]", ("/", 1, 1), "Write a value of the kind"),
        ('{"definition": {},\n "workflowId": "a/b"}', ("/workflowId", 2, 2), ""),
        ('{"name": ', ("", 1, 10), ""),
        ("", ("/definition", 0, 0), "Add it."),
    ],
)
async def test_the_shape_of_a_body(send, body, wanted, hint):
    """What is missing, unknown or of another kind is told with its place and what would mend it; an empty body has no places."""
    refused = await send("/api/v2/workflows", body.replace("{}", '{"name": "n", "steps": {"a": {"type": "delay", "config": {"duration": "1s"}}}}'))
    assert place(refused) == wanted
    assert refused["errors"][0]["hint"].startswith(hint)


async def test_parts_under_names_of_the_callers(send):
    """Under a name that the caller chose the object around it is told, never a place that is not there."""
    refused = await send("/api/v2/tests", '{"testId": "t", "groupId": "g", "name": "n", "type": "http",\n "assertions": [{}, 1]}')
    assert place(refused) == ("/assertions/1", 2, 21)
