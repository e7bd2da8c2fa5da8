"""A clock for tests: sleeping takes no time, and is written down. Knows no event loop."""


class FakeClock:
    """Implements the retries' `Clock`. `slept` are the seconds of each sleep, in order."""

    def __init__(self, wall: float = 1_000_000.0) -> None:
        self.slept: list[float] = []
        self._wall = wall

    def now(self) -> float:
        return sum(self.slept)

    def wall(self) -> float:
        return self._wall + sum(self.slept)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
