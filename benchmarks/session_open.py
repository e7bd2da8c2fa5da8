"""Opening a long session: time and peak memory, and what an append costs.

    python -m benchmarks.session_open [--megabytes 100] [--records 50000] [--runs 3]

Writes a session of that size as a long piece of work leaves it (one reply and three facts of a call a
step; some of the text is not ASCII). Then, each in a process of its own: opens it for writing, verifies
it, forks it, lists it without the index that makes the next list quick, and with it. Aim: 100 MB and
50,000 records open in 3 s and 500 MB. Beside it the time that `wc -l` takes to read the file.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.machine import machine
from benchmarks.measured import Ran, environment, run
from kimi_code.events import (
    AssistantMessage,
    Call,
    CallFinished,
    CallRequested,
    CallStarted,
    Fact,
    SessionStarted,
    TurnEnded,
    TurnStarted,
    Usage,
    UserMessage,
)
from kimi_code.session.store import Store

_A_STEP = 4  # facts
_ACTIONS = {
    "open": "store.open(name).close()",
    "verify": "store.verify(name)",
    "fork": "fork = store.fork(name); fork.close(); store.remove(fork.id)",
    "list, no index": "(store.root / 'index.json').unlink(missing_ok=True); store.sessions()",
    "list": "store.sessions()",
}
_PROGRAM = """\
import sys, time
from pathlib import Path
from kimi_code.session.store import Store
store, name = Store(Path(sys.argv[1])), sys.argv[2]
began = time.perf_counter()
{action}
print(time.perf_counter() - began)
"""


def facts(records: int, size: int) -> Iterator[Fact]:
    """About `records` facts, of `size` bytes in all."""
    yield SessionStarted(version="0", cwd="/work", model="scripted", approval="auto", sandbox="bubblewrap")
    yield TurnStarted(turn=1)
    yield UserMessage(text="a long piece of work")
    share = max(1, size // records * _A_STEP - 700)
    line = "    def total(self) -> int:  # the sum of all entries\n"
    for step in range(records // _A_STEP):
        call = Call(id=f"call-{step}", name="Read", arguments={"path": f"src/module_{step}.py"})
        yield AssistantMessage(
            text=f"Step {step}: look.", calls=[call], usage=Usage(prompt=900, completion=30)
        )
        yield CallRequested(id=call.id, name=call.name, arguments=call.arguments)
        yield CallStarted(id=call.id, name=call.name, target=f"/work/src/module_{step}.py")
        content = (line * (share // len(line) + 1))[:share] + ("" if step % 10 else "– ü 中 ✓")
        yield CallFinished(id=call.id, name=call.name, status="ok", content=content, duration_s=0.01)
    yield TurnEnded(turn=1, reason="done")


def write(root: Path, records: int, megabytes: int) -> tuple[str, float]:
    """A session's id, and the microseconds that an append took in the middle."""
    session = Store(root).create()
    taken: list[float] = []
    for fact in facts(records, megabytes * 1_000_000):
        began = time.perf_counter()
        session.append(fact)
        taken.append(time.perf_counter() - began)
    session.sync()
    session.close()
    return session.id, statistics.median(taken) * 1e6


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="session_open", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--records", type=int, default=50_000)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory(prefix="session-open-") as folder:
        root = Path(folder)
        # In a child: the kernel counts this process's own peak to those it starts.
        pid = os.fork()
        if pid == 0:
            name, microseconds = write(root, arguments.records, arguments.megabytes)
            print(f"append: {microseconds:.0f} us (median, not synced)", flush=True)
            os._exit(0)
        if os.waitpid(pid, 0)[1] != 0:
            print("the session could not be written")
            return 1
        name = next(path.name for path in root.iterdir())
        log = root / name / "main.jsonl"
        read = [run(["wc", "-l", str(log)], cwd=root) for _ in range(arguments.runs)]
        print(f"a session of {log.stat().st_size / 1e6:.0f} MB, {int(read[0].out.split()[0]):,} records")
        print(f"{'':<16}{'median s':>10}{'process s':>11}{'peak MB':>9}")
        _row("wc -l", [ran.seconds for ran in read], read)
        for action, code in _ACTIONS.items():
            command = [sys.executable, "-c", _PROGRAM.format(action=code), str(root), name]
            ran = [run(command, cwd=Path.cwd(), env=environment()) for _ in range(arguments.runs)]
            if any(each.code != 0 for each in ran):
                print(f"{action}: {ran[-1].err.strip()}")
                return 1
            _row(action, [float(each.out) for each in ran], ran)
    return 0


def _row(name: str, seconds: list[float], ran: list[Ran]) -> None:
    whole = statistics.median(each.seconds for each in ran)
    peak = max(each.peak_mb for each in ran)
    print(f"{name:<16}{statistics.median(seconds):>10.3f}{whole:>11.3f}{peak:>9.0f}")


if __name__ == "__main__":
    sys.exit(main())
