from datetime import date

import pytest
from ledger.entry import Entry, parse_entry
from ledger.journal import entries_between, merge_journals, read_journal

TEXT = """
# spring
2026-03-14  Cash  Tournament  45.50  chess clocks
2026-03-01  Dues  Cash        120.00

2026-03-31  Dues  Cash        20.00  late dues
2026-04-01  Cash  Rent        80.00
"""


def paid(day: int, note: str = "") -> Entry:
    return Entry(date(2026, 3, day), "Cash", "Rent", 100, note)


def test_an_entry_is_read() -> None:
    entry = parse_entry("2026-03-14  Cash  Tournament  45.50  chess clocks")
    assert entry == Entry(date(2026, 3, 14), "Cash", "Tournament", 4550, "chess clocks")


def test_an_entry_moves_between_two_accounts() -> None:
    with pytest.raises(ValueError, match="both accounts"):
        parse_entry("2026-03-14  Cash  Cash  1.00")


def test_a_journal_is_sorted_by_day() -> None:
    assert [entry.day.day for entry in read_journal(TEXT)] == [1, 14, 31, 1]


def test_an_error_names_its_line() -> None:
    with pytest.raises(ValueError, match="line 2: an entry needs"):
        read_journal("# a comment\n2026-03-14  Cash")


def test_journals_are_merged_by_day() -> None:
    merged = merge_journals([paid(2, "a"), paid(9, "a")], [paid(2, "b"), paid(5, "b")])
    assert [(entry.day.day, entry.note) for entry in merged] == [(2, "a"), (2, "b"), (5, "b"), (9, "a")]


def test_entries_between_two_days() -> None:
    journal = [paid(1), paid(4), paid(7)]
    assert entries_between(journal, date(2026, 3, 2), date(2026, 3, 6)) == [paid(4)]


def test_both_days_are_included() -> None:
    journal = [paid(1), paid(4), paid(7), paid(7, "again"), paid(8)]
    found = entries_between(journal, date(2026, 3, 1), date(2026, 3, 7))
    assert found == [paid(1), paid(4), paid(7), paid(7, "again")]


def test_no_entries_outside() -> None:
    assert entries_between([paid(4)], date(2026, 3, 5), date(2026, 3, 9)) == []
