"""R44 in the small: bugs planted in real servers are found by the very campaigns that find none in ours."""

import pytest
import pytest_asyncio

from flowrunner.testing.crash.campaign import Campaign, Verdict
from flowrunner.testing.crash.flows import BY_NAME
from flowrunner.testing.crash.server import Nursery

pytestmark = pytest.mark.asyncio(loop_scope="module")
SOON_SECONDS = 6.0  # for an execution that a bug keeps from its end, the time in which it would have come to it
CASES = [
    ("dispatch_before_commit", "sequence", "after_result_before_commit:1", "nobody knows|not stored as started"),
    ("acknowledge_before_commit", "wait", "", "is lost"),
    ("forget_names", "wait", "after_commit_before_ack:1", "nobody asked for"),
    ("repeat_everything", "sequence", "after_result_before_commit:2", "took effect 2 times"),
    ("doubt_everything", "sequence", "after_result_before_commit:1", "may simply run again"),
    ("leave_the_dead_alone", "sequence", "after_dispatch_before_result:2", "has not ended in time"),
    ("forget_timers", "wait", "after_commit_before_ack:1", "has not ended in time"),
    ("lose_deliveries", "nested", "", "has not ended in time"),
    ("lose_a_chunk", "sequence", "", "without a gap"),
    ("change_the_end", "callback", "", "its end has changed"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nursery():
    """Servers with a bug."""
    async with Nursery("planted:plant") as made:
        yield made


@pytest.fixture
def store_url():
    """The bugs are planted in this store, the faults need one that is quick."""
    return lambda folder: f"sqlite:///{folder}/flowrunner.db"


@pytest.mark.timeout(90)
@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
async def test_a_planted_bug_is_found(site, told, case):
    bug, flow, crash_at, words = case
    flow, tell = BY_NAME[flow], told()
    tell.schedule = [f"plant {bug}", f"kill at {crash_at}" if crash_at else "kill when it was acknowledged"]
    async with site() as place:
        server = place.server()
        await server.start(crash_at=crash_at, PLANTED=bug)
        async with Campaign([server], place.book, [flow], told=tell, environment={"PLANTED": bug}) as campaign:
            await campaign.begin(flow)
            if bug == "acknowledge_before_commit":  # a caller is told, and then the server dies
                await server.kill()
            evidence = await campaign.evidence(SOON_SECONDS)
            if bug == "change_the_end":
                await server.kill()
                evidence = await campaign.evidence(SOON_SECONDS)
            with pytest.raises(Verdict, match=words):
                campaign.judge(evidence)
