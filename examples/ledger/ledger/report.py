"""What the accounts hold, and the statement of a month."""

from calendar import monthrange
from collections import defaultdict
from datetime import date

from ledger.entry import Entry
from ledger.journal import entries_between
from ledger.money import format_amount


def balances(entries: list[Entry]) -> dict[str, int]:
    """Cents that each account gained (or lost, below zero). Their sum is 0."""
    held: defaultdict[str, int] = defaultdict(int)
    for entry in entries:
        held[entry.source] -= entry.cents
        held[entry.target] += entry.cents
    return dict(held)


def month_of(year: int, month: int) -> tuple[date, date]:
    """The first and the last day of a month."""
    return date(year, month, 1), date(year, month, monthrange(year, month)[1])


def monthly_change(journal: list[Entry], account: str, year: int, month: int) -> int:
    """Cents by which the account changed within a month."""
    first, last = month_of(year, month)
    return balances(entries_between(journal, first, last)).get(account, 0)


def statement(journal: list[Entry], account: str, year: int, month: int) -> str:
    """One line for each entry of the month that touches the account, then the change."""
    first, last = month_of(year, month)
    lines: list[str] = []
    for entry in entries_between(journal, first, last):
        if account not in (entry.source, entry.target):
            continue
        cents = entry.cents if entry.target == account else -entry.cents
        other = entry.source if entry.target == account else entry.target
        lines.append(f"{entry.day}  {other:<12}{format_amount(cents):>12}")
    total = format_amount(monthly_change(journal, account, year, month))
    lines.append(f"{'change':<24}{total:>12}")
    return "\n".join(lines)
