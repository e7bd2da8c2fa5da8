"""One line of a journal: an amount that moves from one account to another."""

import re
from dataclasses import dataclass
from datetime import date

from ledger.money import parse_amount

_FIELDS = re.compile(r"\s{2,}")


@dataclass(frozen=True)
class Entry:
    """`cents` go from account `source` to account `target` on `day`."""

    day: date
    source: str
    target: str
    cents: int
    note: str = ""


def parse_entry(line: str) -> Entry:
    """Reads `2026-03-14  Cash  Tournament  45.50  chess clocks`; two spaces or more part the fields.

    The note may be missing. Raises ValueError.
    """
    fields = _FIELDS.split(line.strip(), maxsplit=4)
    if len(fields) < 4:
        raise ValueError(f"an entry needs a day, two accounts and an amount: {line!r}")
    day, source, target, amount = fields[:4]
    if source == target:
        raise ValueError(f"both accounts are {source!r}: {line!r}")
    note = fields[4] if len(fields) == 5 else ""
    return Entry(date.fromisoformat(day), source, target, parse_amount(amount), note)
