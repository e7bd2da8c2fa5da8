"""Rows as a table and a summary in words. Pure: rows in, text out."""

import statistics
from collections.abc import Sequence

from benchmarks.repair.rows import Row
from benchmarks.repair.statistics import mean_difference, paired_difference, wilson

HEAD = f"{'task':<28}{'loop':>6}{'exit':>6}{'s':>8}{'tokens':>8}   {'one-shot':>8}{'passed/n':>10}"


def table_line(row: Row) -> str:
    """One task: what the loop did, and one-shot prompting beside it."""
    loop = row.loop
    tokens = loop.prompt_tokens + loop.completion_tokens
    code = "-" if loop.exit_code is None else str(loop.exit_code)
    line = f"{row.task[:27]:<28}{_word(loop.solved):>6}{code:>6}{loop.seconds:>8.1f}{tokens:>8}"
    if row.oneshot is not None:
        line += f"   {_word(row.oneshot.first):>8}{row.oneshot.passed:>7}/{row.oneshot.samples}"
    return (
        line
        + ("   FALSE DONE" if loop.false_done else "")
        + ("   TESTS CHANGED" if loop.tests_changed else "")
    )


def summary(rows: Sequence[Row]) -> str:
    """The figures, one set after the other."""
    parts = [_summary_of(name, [r for r in rows if r.set == name]) for name in sorted({r.set for r in rows})]
    return "\n\n".join(parts) if parts else "No rows."


def _summary_of(name: str, rows: Sequence[Row]) -> str:
    solved = [row for row in rows if row.loop.solved]
    n = len(rows)
    lines = [
        f"Set {name}: {n} tasks",
        f"  loop      {_rate(len(solved), n)}",
        f"            solved ones: median {_median([r.loop.seconds for r in solved])} s, "
        f"{_median([r.loop.prompt_tokens + r.loop.completion_tokens for r in solved])} tokens "
        f"({_median([r.loop.completion_tokens for r in solved])} of them written); "
        f"within 6 minutes: {_within(solved, 360)} of {n}",
        f"  unsolved  {_codes(rows)}",
        f"  done, but the tests fail: {sum(row.loop.false_done for row in rows)}   "
        f"tests changed: {sum(row.loop.tests_changed for row in rows)}",
    ]
    both = [(row.loop.solved, row.oneshot) for row in rows if row.oneshot is not None]
    if both:
        first = sum(shot.first for _, shot in both)
        expected = statistics.fmean(shot.expected for _, shot in both)
        a = paired_difference([(loop, shot.first) for loop, shot in both])
        b = mean_difference([loop - shot.expected for loop, shot in both])
        any_passes = sum(shot.passed > 0 for _, shot in both)
        lines += [
            f"  one-shot  {_rate(first, len(both))} (a) the first answer, greedy",
            f"            {expected:.1%} (b) an answer taken blindly out of those of equal time",
            f"            ({any_passes} of {len(both)} have an answer that passes, if one knew which)",
            f"  loop minus (a): {_interval(a)}   (Newcombe, paired)",
            f"  loop minus (b): {_interval(b)}   (bootstrap over tasks)",
        ]
    return "\n".join(lines)


def _word(solved: bool) -> str:
    return "yes" if solved else "no"


def _rate(hits: int, n: int) -> str:
    low, high = wilson(hits, n)
    return f"{hits} of {n} = {hits / max(n, 1):.1%} (95 %: {low:.1%} to {high:.1%})"


def _interval(difference: tuple[float, float, float]) -> str:
    middle, low, high = (100 * value for value in difference)
    return f"{middle:+.1f} points (95 %: {low:+.1f} to {high:+.1f})"


def _median(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.0f}" if values else "-"


def _within(solved: Sequence[Row], seconds: float) -> int:
    return sum(row.loop.seconds <= seconds for row in solved)


def _codes(rows: Sequence[Row]) -> str:
    codes = [
        "killed" if r.loop.exit_code is None else f"exit {r.loop.exit_code}"
        for r in rows
        if not r.loop.solved
    ]
    counts = [f"{codes.count(code)} {code}" for code in sorted(set(codes))]
    return ", ".join(counts) if counts else "none"
