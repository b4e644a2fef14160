"""A limit, how its bucket fills, and what a caller is told of it.

Levels are whole numbers of units, of which a request takes TOKEN: so many that a limit of n per minute gains exactly n
of them in a microsecond. Nothing is rounded but what callers are told, and that upwards.
"""

from dataclasses import dataclass

TOKEN = 60_000_000
SECOND = 1_000_000  # microseconds
LEAST_BURST = 10
NEVER_SECONDS = 3_600  # when to come back to a limit of zero: it has to be raised first


@dataclass(frozen=True)
class Limit:
    """So many requests per minute in one bucket. `policy` is its name in answers, `bucket` its name in Redis."""

    policy: str
    bucket: str
    per_minute: int

    @property
    def burst(self) -> int:
        """Requests that may come at once: those of ten seconds.

        A client that waits as told needs one; a page that loads, or a script that starts, sends a handful; more would
        let the limit be exceeded by as much in a single minute. So at least ten, and never more than a minute's.
        """
        return min(self.per_minute, max(self.per_minute // 6, LEAST_BURST))

    @property
    def full(self) -> int:
        return self.burst * TOKEN

    def seconds_until(self, level: int, wanted: int) -> int:
        """Whole seconds until a bucket at this level holds what is wanted; not a microsecond too early."""
        if self.per_minute == 0:
            return NEVER_SECONDS
        return -(-max(0, wanted - level) // (self.per_minute * SECOND))


@dataclass(frozen=True)
class Standing:
    """One limit after a request: how many more may come now, and in how many seconds there is another one."""

    limit: Limit
    remaining: int
    seconds_until_more: int


@dataclass(frozen=True)
class Taken:
    """Whether a request may go on, and how all its limits stand. A refused one has taken nothing from any."""

    is_allowed: bool
    standings: tuple[Standing, ...]

    @property
    def binding(self) -> Standing:
        """The limit that keeps the caller waiting longest."""
        return max(self.standings, key=lambda one: (one.remaining == 0, one.seconds_until_more))


def standing(limit: Limit, level: int, full: int, price: int = TOKEN) -> Standing:
    remaining = max(0, level // price)
    wanted = (remaining + 1) * price
    is_full = remaining > 0 and wanted > full
    return Standing(limit, remaining, 0 if is_full else limit.seconds_until(level, wanted))
