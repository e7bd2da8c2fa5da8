from datetime import date

from ledger.journal import read_journal
from ledger.report import balances, month_of, monthly_change, statement

JOURNAL = read_journal(
    """
    2026-02-27  Dues  Cash        15.00
    2026-03-01  Dues  Cash        120.00
    2026-03-14  Cash  Tournament  45.50  chess clocks
    2026-03-31  Dues  Cash        20.00  late dues
    2026-04-01  Cash  Rent        80.00
    """
)


def test_what_one_account_loses_another_gains() -> None:
    assert balances(JOURNAL) == {"Dues": -15500, "Cash": 2950, "Tournament": 4550, "Rent": 8000}
    assert sum(balances(JOURNAL).values()) == 0


def test_february_may_have_29_days() -> None:
    assert month_of(2028, 2) == (date(2028, 2, 1), date(2028, 2, 29))


def test_a_month_without_entries_changes_nothing() -> None:
    assert monthly_change(JOURNAL, "Cash", 2026, 5) == 0


def test_the_last_day_belongs_to_the_month() -> None:
    assert monthly_change(JOURNAL, "Cash", 2026, 3) == 12000 - 4550 + 2000


def test_the_statement_of_february() -> None:
    assert statement(JOURNAL, "Cash", 2026, 2).splitlines() == [
        "2026-02-27  Dues               15.00",
        "change                         15.00",
    ]
