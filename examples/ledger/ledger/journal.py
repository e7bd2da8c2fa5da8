"""Journals: lists of entries, sorted by day."""

import bisect
from datetime import date
from heapq import merge

from ledger.entry import Entry, parse_entry


def read_journal(text: str) -> list[Entry]:
    """The entries of a journal, sorted by day; empty lines and `#` comments are skipped.

    Entries of one day stay in the order of the text. Raises ValueError, which names the line.
    """
    entries: list[Entry] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            entries.append(parse_entry(line))
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
    return sorted(entries, key=lambda entry: entry.day)


def merge_journals(*journals: list[Entry]) -> list[Entry]:
    """One journal of several sorted ones. Of one day, the entries of the first journal come first."""
    return list(merge(*journals, key=lambda entry: entry.day))


def entries_between(journal: list[Entry], first: date, last: date) -> list[Entry]:
    """The entries of the days from `first` to `last`, both days included."""
    days = [entry.day for entry in journal]
    start = bisect.bisect_left(days, first)
    end = bisect.bisect_left(days, last)
    return journal[start:end]
