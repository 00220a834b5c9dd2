"""Every route and operation, generated from the router, asked by everybody: what the declared permission says is what happens."""

from collections import Counter

import pytest
from litestar import Request, Response, get, post
from litestar.params import FromPath
from matrixcases import READING, READING_POSTS, aws_cases, isolation, permissions, rest_cases
from matrixworld import AWS, HTTP, MARK, ONE, SOCKET, matrix_world

from flowrunner.api import health
from flowrunner.api.aws.operations import OPERATIONS
from flowrunner.api.identify import PUBLIC
from flowrunner.identity.permissions import Permission

LEAST_CASES = 2000


@pytest.fixture
async def world(monkeypatch):
    async with matrix_world(monkeypatch) as made:
        yield made


def all_cases(world):
    return [*rest_cases(world.application.asgi._rest), *aws_cases()]


def report(wrong):
    return f"{len(wrong)} of them:\n" + "\n".join(wrong[:60])


async def test_who_may_do_what_in_their_own_account(world):
    """Unknown credentials get 401, missing permissions 403, everybody else neither and never a 5xx; nobody outside sees anything of account one."""
    cases = all_cases(world)
    asked, wrong = await permissions(world, cases)
    print(f"{asked} asked")
    assert not wrong, report(wrong)


async def test_what_is_of_another_account_is_as_if_it_did_not_exist(world):
    asked, wrong = await isolation(world, all_cases(world))
    print(f"{asked} asked")
    assert not wrong, report(wrong)
