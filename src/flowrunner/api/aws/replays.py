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
KEPT_SIGNATURES = 500_000  # about 40 MB; 1,600 writes a second for five minutes


class Replays:
    """The signatures of writes that were taken within the time in which they hold; of one process, in bounded memory.

    When there are too many, the oldest second is forgotten, and with it every write that was signed up to then is refused: it
    has to be signed again. Nothing that was taken is ever taken for new.
    """

    def __init__(self, *, kept: int = KEPT_SIGNATURES, repeat_seconds: float = REPEAT_SECONDS) -> None:
        self._kept = kept
        self._repeat = repeat_seconds
        self._recent: set[int] = set()
        self._arrivals: deque[tuple[float, int, int]] = deque()  # of the recent ones: when, which, second of signing
        self._taken: dict[int, set[int]] = {}  # second of signing -> signatures that are no longer recent
        self._count = 0
        self._forgotten = -1  # what was signed up to this second may have been taken
        self._swept = 0.0

    def take(self, claim: Claim, *, now_ms: int, monotonic: float) -> None:
        """Take a write whose signature is right; raises AwsFault for one that was taken before, or may have been.

        `now_ms` is milliseconds since 1970 UTC, `monotonic` seconds that never go back.
        """
        now = now_ms // 1000
        if claim.signed_at < now - SKEW_SECONDS:  # a presigned request that holds for longer
            raise invalid(
                f"A presigned request that changes something is taken for {SKEW_SECONDS // 60} minutes after it was signed: {claim.moment} is earlier."
            )
        self._age(now, monotonic)
        signature = int(claim.signature[:16], 16)  # 64 bits of it: that two of half a million are equal is one chance in 10^8
        if signature in self._recent:
            return
        if claim.signed_at <= self._forgotten or signature in self._taken.get(claim.signed_at, ()):
            raise AwsFault("ThrottlingException", "This signed request was taken before. Sign it again to repeat it.")
        self._recent.add(signature)
        self._arrivals.append((monotonic, signature, claim.signed_at))
        self._count += 1

    def __len__(self) -> int:
        """How many signatures are remembered."""
        return self._count

    def _age(self, now: int, monotonic: float) -> None:
        """Move what is no longer recent and forget what no longer holds: each signature is moved once and dropped once."""
        while self._arrivals and (monotonic - self._arrivals[0][0] > self._repeat or self._count >= self._kept):
            _, signature, signed_at = self._arrivals.popleft()
            self._recent.discard(signature)
            self._taken.setdefault(signed_at, set()).add(signature)
            while self._count >= self._kept and self._taken:
                self._forget(min(self._taken))
        if monotonic - self._swept >= 1.0:
            self._swept = monotonic
            for second in [second for second in self._taken if second < now - SKEW_SECONDS]:
                self._drop(second)

    def _forget(self, second: int) -> None:
        self._forgotten = max(self._forgotten, second)
        self._drop(second)

    def _drop(self, second: int) -> None:
        self._count -= len(self._taken.pop(second))
