"""How a pull reports what it does. Knows no screen."""

from collections.abc import Callable

# done bytes, all bytes (None: unknown), the source in words. `done` falls when a source must start over.
Progress = Callable[[int, int | None, str], None]


def silent(done: int, total: int | None, source: str) -> None:
    """A Progress that tells nobody."""
