"""Repairs one-function bugs with the embedded model: the loop beside one-shot prompting in equal time.

    python -m benchmarks.repair_bench [--limit N] [--shard I/N] [--only NAME] [--timeout S] [--out FILE]
    python -m benchmarks.repair_bench --summary FILE

Exits 1 where the agent said "done" and the original tests fail: that must never happen.
"""

import argparse
import contextlib
import sys
from pathlib import Path

from benchmarks.machine import machine
from benchmarks.repair.loop import run_loop
from benchmarks.repair.oneshot import Served, ServeFailed, run_one_shot
from benchmarks.repair.rows import Row, append_row, load_rows
from benchmarks.repair.summary import HEAD, summary, table_line
from benchmarks.repair.tasks import Task, humanevalfix_tasks, own_tasks

HUMANEVALFIX = Path(__file__).parent.parent.parent / "shared" / "data" / "humanevalfix_even.jsonl"


def _shard(text: str) -> tuple[int, int]:
    index, _, count = text.partition("/")
    if not (index.isdigit() and count.isdigit() and 1 <= int(index) <= int(count)):
        raise argparse.ArgumentTypeError("write it like 1/4")
    return int(index), int(count)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="repair_bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--set", choices=["own", "humanevalfix", "all"], default="all")
    parser.add_argument("--humanevalfix", type=Path, default=HUMANEVALFIX, help="its JSON Lines file")
    parser.add_argument("--limit", type=int, help="so many tasks, spread over the set")
    parser.add_argument("--shard", type=_shard, help="part I of N, from 1")
    parser.add_argument("--only", action="append", help="a task by name (repeat)")
    parser.add_argument("--timeout", type=int, default=360, help="seconds for each task (360)")
    parser.add_argument("--samples", type=int, default=16, help="one-shot answers at most (16)")
    parser.add_argument("--no-oneshot", action="store_true", help="the loop alone")
    parser.add_argument("--out", type=Path, help="append rows here; tasks that it holds are skipped")
    parser.add_argument("--summary", type=Path, nargs="+", help="print stored rows and run nothing")
    parser.add_argument(
        "run_flags", nargs=argparse.REMAINDER, metavar="-- FLAGS", help="further flags for kimi-code run"
    )
    return parser.parse_args()


def chosen(arguments: argparse.Namespace) -> list[Task]:
    """The tasks that were asked for. Exits with a sentence where there are none."""
    tasks: list[Task] = own_tasks() if arguments.set != "humanevalfix" else []
    if arguments.set != "own":
        if arguments.humanevalfix.exists():
            tasks += humanevalfix_tasks(arguments.humanevalfix)
        elif arguments.set == "humanevalfix":
            sys.exit(f"{arguments.humanevalfix} is not there: give the file with --humanevalfix.")
    if arguments.only:
        tasks = [task for task in tasks if task.name in arguments.only]
    if arguments.shard:
        index, count = arguments.shard
        tasks = tasks[index - 1 :: count]
    if arguments.limit is not None and arguments.limit < len(tasks):
        tasks = [tasks[i * len(tasks) // arguments.limit] for i in range(arguments.limit)]
    if not tasks:
        sys.exit("No such task.")
    return tasks


def _measure(task: Task, served: Served | None, arguments: argparse.Namespace) -> Row:
    flags = tuple(flag for flag in arguments.run_flags if flag != "--")
    loop = run_loop(task, timeout_s=arguments.timeout, extra=flags)
    oneshot = None
    if served is not None:
        oneshot = run_one_shot(task, served, seconds=loop.seconds, most=arguments.samples)
    return Row(set=task.set, task=task.name, kind=task.kind, loop=loop, oneshot=oneshot)


def _run(arguments: argparse.Namespace) -> list[Row]:
    tasks = chosen(arguments)
    rows = load_rows(arguments.out) if arguments.out else []
    have = {(row.set, row.task) for row in rows}
    print(f"{len(tasks)} tasks, {arguments.timeout} s each at most; {machine()}\n\n{HEAD}", flush=True)
    with contextlib.ExitStack() as stack:
        served = None if arguments.no_oneshot else stack.enter_context(Served())
        for task in tasks:
            if (task.set, task.name) in have:
                continue
            row = _measure(task, served, arguments)
            rows.append(row)
            if arguments.out:
                append_row(arguments.out, row)
            print(table_line(row), flush=True)
            if not row.loop.solved and row.loop.note:
                print(f"    {row.loop.note}", flush=True)
    return rows


def main() -> int:
    arguments = _arguments()
    if arguments.summary:
        rows = [row for path in arguments.summary for row in load_rows(path)]
        print("\n".join([HEAD, *map(table_line, rows)]))
    else:
        try:
            rows = _run(arguments)
        except ServeFailed as error:
            print(f"{error}\nOne-shot prompting needs it; --no-oneshot measures the loop alone.")
            return 1
    print(f"\n{summary(rows)}")
    return 1 if any(row.loop.false_done for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
