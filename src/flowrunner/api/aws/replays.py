"""Which signed requests have changed something already: a captured request cannot be sent again later.

A signature has a resolution of one second, so honest requests can be equal: a retry within the second, or a loop that starts
an execution without a name again and again. They come within seconds of each other. So an equal request is taken for a few
seconds after the first; after that it is a replay until its moment is too old for anybody (decision 2026-11-21, signature rules).
"""

from __future__ import annotations

from collections import deque

from flowrunner.api.aws.faults import AwsFault
from flowrunner.api.aws.signature import SKEW_SECONDS, Claim, invalid

REPEAT_SECONDS = 5.0
KEPT_SIGNATURES = 200_000  # about 20 MB where accounts are busy, 70 MB if each has one write a second


class Replays:
    """The signatures of writes that were taken within the time in which they hold; of one process, in bounded memory.

    When there are too many, the account with most of them pays: half of its are forgotten, by whole seconds of signing, the
    oldest first, and what else it has signed in those seconds has to be signed again. Nothing that was taken is ever taken
    for new, and no account can make the server forget, or refuse, the writes of another that writes less.
    """

    def __init__(self, *, kept: int = KEPT_SIGNATURES, repeat_seconds: float = REPEAT_SECONDS) -> None:
        self._kept = kept
        self._repeat = repeat_seconds
        self._recent: set[int] = set()
        self._arrivals: deque[tuple[float, int, int, str]] = deque()  # of the recent ones: when, which, second of signing, account
        self._taken: dict[str, dict[int, set[int]]] = {}  # account -> second of signing -> signatures that are no longer recent
        self._sizes: dict[str, int] = {}  # account -> how many those are
        self._accounts: dict[int, set[str]] = {}  # second of signing -> accounts that have some of it
        self._forgotten: dict[int, set[str]] = {}  # second of signing -> accounts whose signatures of it are not remembered
        self._count = 0
        self._swept = 0.0

    def take(self, account: str, claim: Claim, *, now_ms: int, monotonic: float) -> None:
        """Take a write of an account whose signature is right; raises AwsFault for one that was taken before, or may have been.

        `now_ms` is milliseconds since 1970 UTC, `monotonic` seconds that never go back.
        """
        now = now_ms // 1000
        if claim.signed_at < now - SKEW_SECONDS:  # a presigned request that holds for longer
            raise invalid(
                f"A presigned request that changes something is taken for {SKEW_SECONDS // 60} minutes after it was signed: {claim.moment} is earlier."
            )
        self._age(now, monotonic)
        signature = int(claim.signature[:16], 16)  # 64 bits of it: that two of 200,000 are equal is one chance in 10^9
        if signature in self._recent:
            return
        second = claim.signed_at
        if account in self._forgotten.get(second, ()) or signature in self._taken.get(account, {}).get(second, ()):
            raise AwsFault("ThrottlingException", "This signed request was taken before. Sign it again to repeat it.")
        self._recent.add(signature)
        self._arrivals.append((monotonic, signature, second, account))
        self._count += 1

    def __len__(self) -> int:
        """How many signatures are remembered."""
        return self._count

    def _age(self, now: int, monotonic: float) -> None:
        """Move what is no longer recent and forget what no longer holds: each signature is moved once and dropped once."""
        while self._arrivals and monotonic - self._arrivals[0][0] > self._repeat:
            self._settle()
        while self._count >= self._kept:
            if self._taken:
                self._forget()
            else:
                self._settle()
        if monotonic - self._swept >= 1.0:
            self._swept = monotonic
            for second in [second for second in {*self._accounts, *self._forgotten} if second < now - SKEW_SECONDS]:
                self._forgotten.pop(second, None)
                for account in tuple(self._accounts.get(second, ())):
                    self._drop(account, second)

    def _settle(self) -> None:
        """The signature that arrived first is not recent any more."""
        _, signature, second, account = self._arrivals.popleft()
        self._recent.discard(signature)
        if account in self._forgotten.get(second, ()):
            self._count -= 1
            return
        self._taken.setdefault(account, {}).setdefault(second, set()).add(signature)
        self._accounts.setdefault(second, set()).add(account)
        self._sizes[account] = self._sizes.get(account, 0) + 1

    def _forget(self) -> None:
        """Forget half of the signatures of the account that has most."""
        account = max(self._sizes, key=self._sizes.__getitem__)
        left = self._sizes[account] // 2
        for second in sorted(self._taken[account]):
            if self._sizes.get(account, 0) <= left:
                break
            self._drop(account, second)
            self._forgotten.setdefault(second, set()).add(account)

    def _drop(self, account: str, second: int) -> None:
        gone = len(self._taken[account].pop(second))
        self._count -= gone
        self._sizes[account] -= gone
        self._accounts[second].discard(account)
        if not self._taken[account]:
            del self._taken[account], self._sizes[account]
        if not self._accounts[second]:
            del self._accounts[second]
