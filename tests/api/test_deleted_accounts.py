"""What is left of an account that was deleted: nothing that whoever gets its number next could see."""

from contextlib import AsyncExitStack

import httpx

from flowrunner.config import Settings
from flowrunner.identity.principal import SERVER
from flowrunner.wiring import build

NUMBERS = ("111111111111", "222222222222")
STEPS = {
    "name": "n",
    "steps": {"put": {"type": "database", "config": {"driver": "sqlite", "path": "own.db", "operation": "execute", "sql": "CREATE TABLE t (n)"}}},
}


async def test_databases_of_nodes_go_with_their_account(tmp_path):
    """The SQLite files of an account, and no others."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "kept").touch()
    async with AsyncExitStack() as stack:
        application = build(Settings(store="memory:", dev=True, database_folder=tmp_path / "databases"))
        await application.start(stack)
        client = await stack.enter_async_context(httpx.AsyncClient(transport=httpx.ASGITransport(application.asgi), base_url="http://localhost"))
        for number in NUMBERS:
            await application.identity.accounts.open(f"u{number}", "a long password", SERVER, account=number)
            as_account = {"authorization": f"AWS4-HMAC-SHA256 Credential={number}/x"}
            kept = await client.post("/api/v2/workflows", json={"workflowId": "w", "definition": STEPS}, headers=as_account)
            assert kept.status_code == 201, kept.text
            run = (await client.post("/api/v2/workflows/w/execute", json={}, headers=as_account)).json()["runId"]
            await application.feed.ended(run)
            assert (tmp_path / "databases" / number / "own.db").is_file()
        (tmp_path / "databases" / NUMBERS[0] / "way-out").symlink_to(tmp_path / "outside")
        assert (await client.delete(f"/api/v1/accounts/{NUMBERS[0]}")).status_code == 204
    assert not (tmp_path / "databases" / NUMBERS[0]).exists()
    assert (tmp_path / "databases" / NUMBERS[1] / "own.db").is_file()
    assert (tmp_path / "outside" / "kept").is_file()
