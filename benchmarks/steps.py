"""What a step costs besides the model: scripted runs of Bash `echo` and of Read calls.

    python -m benchmarks.steps [--steps N] [--runs N] [--long N] [--peers]

A step is one model reply with one call, and its result. Its overhead is (wall time of the run - wall time of
a run without steps - the server's own time) / steps. A long run shows whether it stays flat: the time of
every tenth of it, taken from the events. With --peers also pi and codex from npm.
"""

import argparse
import contextlib
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.machine import machine
from benchmarks.measured import Ran, environment, kimi_code, run
from benchmarks.peers import Peer, install_peers, peer_environment
from benchmarks.scripted import CHAT, Scripted

PROMPT = "Do the steps."
ECHO: Mapping[str, Any] = {"name": "Bash", "arguments": {"command": "echo {i}"}}
READ: Mapping[str, Any] = {"name": "Read", "arguments": {"path": "notes/{i}.txt"}}
WINDOW = 4_000_000
"""Tokens: large enough that no run is compacted, which would be measured as well."""


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table. `once(url, steps)` runs the program against a server."""

    name: str
    call: Mapping[str, Any]
    server: str
    once: Callable[[str, int], Ran]


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """One measured pair of runs. Milliseconds a step, seconds of the run without steps, MB."""

    step_ms: float
    start_s: float
    peak_mb: float


class RunFailed(Exception):
    """A measured program did not do its steps; the text says what it printed."""


def script(call: Mapping[str, Any], steps: int) -> dict[str, Any]:
    """`steps` calls, one a reply, `{i}` in them numbered from 1; then an answer in words."""
    text = msgspec.json.encode(call)
    calls = [{"call": msgspec.json.decode(text.replace(b"{i}", b"%d" % i))} for i in range(1, steps + 1)]
    return {"replies": [*calls, {"text": "Done."}], "then": "repeat_last", "context": WINDOW}


def timed(subject: Subject, steps: int) -> tuple[Ran, float]:
    """One run and the server's own seconds. Raises RunFailed unless every step was asked for."""
    with Scripted(script(subject.call, steps), module=subject.server) as server:
        ran = subject.once(server.url, steps)
        requests = server.requests()
        if ran.code != 0 or len(requests) < steps + 1:
            last = (ran.err.strip().splitlines() or ["no message"])[-1]
            raise RunFailed(f"{subject.name}: exit {ran.code} after {len(requests)} requests: {last[:200]}")
        if steps and str(steps) not in (returned := last_result(requests[steps].body)):
            raise RunFailed(f"{subject.name}: the last call did not do its work: {returned[:200]}")
        return ran, server.own_seconds()


class _Item(msgspec.Struct):
    """A message of the chat API, or an input item of the Responses API."""

    role: str = ""
    type: str = ""
    content: Any = None
    output: Any = None


class _Request(msgspec.Struct):
    messages: list[_Item] = []
    input: list[_Item] = []


def last_result(body: str) -> str:
    """What the last tool call returned, as a request of either API carries it; as JSON."""
    request = msgspec.json.decode(body, type=_Request)
    items = request.messages or request.input
    results = [item for item in items if item.role == "tool" or item.type == "function_call_output"]
    return msgspec.json.encode(results[-1].content or results[-1].output).decode() if results else ""


def cost(subject: Subject, steps: int) -> Cost:
    """A run without steps, and one with. Raises RunFailed."""
    none, own_none = timed(subject, 0)
    many, own_many = timed(subject, steps)
    spent = (many.seconds - own_many) - (none.seconds - own_none)
    return Cost(step_ms=spent * 1000 / steps, start_s=none.seconds, peak_mb=many.peak_mb)


def our_subjects(folder: Path, most: int) -> list[Subject]:
    """Bash without and with the sandbox, and Read, in a folder with `most` small files."""
    work = folder / "work"
    (work / "notes").mkdir(parents=True)
    for i in range(1, most + 1):
        (work / "notes" / f"{i}.txt").write_text(f"note {i}\n")
    env = environment(KIMI_LOCAL_HOME=str(folder / "state"))

    def once(*flags: str) -> Callable[[str, int], Ran]:
        def go(url: str, steps: int) -> Ran:
            command = [kimi_code(), "run", PROMPT, "--model-url", url, "-m", "scripted", "-o", "stream-json"]
            command += ["--approval", "yolo", "--no-verify", "--max-steps", str(steps + 10), *flags]
            return run(command, cwd=work, env=env, timeout=1200)

        return go

    return [
        Subject(name="Bash, no sandbox", call=ECHO, server=CHAT, once=once("--no-sandbox")),
        Subject(name="Bash, sandbox", call=ECHO, server=CHAT, once=once("--sandbox")),
        Subject(name="Read", call=READ, server=CHAT, once=once("--no-sandbox")),
    ]


def peer_subjects(peer: Peer, folder: Path) -> list[Subject]:
    """The peer's shell tool, without and, where it has one, with its sandbox."""
    work = folder / f"work-{peer.name}"
    work.mkdir()

    def once(sandbox: bool) -> Callable[[str, int], Ran]:
        def go(url: str, steps: int) -> Ran:
            peer.prepare(url)
            command = peer.command(url, PROMPT, sandbox)
            return run(command, cwd=work, env=peer_environment(peer), timeout=1200)

        return go

    boxes = [False, True] if peer.sandboxes else [False]
    words = {False: "no sandbox", True: "sandbox"}
    return [
        Subject(name=f"{peer.name}, {words[box]}", call=peer.echo, server=peer.server, once=once(box))
        for box in boxes
    ]


def tenths(stdout: str) -> list[float]:
    """Milliseconds a step in each tenth of a run, from the times of its call.finished events."""
    times: list[float] = []
    for line in stdout.splitlines():
        event = msgspec.json.decode(line)
        if event.get("type") == "call.finished":
            times.append(event["time"])
    size = (len(times) - 1) // 10
    if size < 1:
        return []
    return [(times[(i + 1) * size] - times[i * size]) * 1000 / size for i in range(10)]


def measure(subjects: list[Subject], steps: int, runs: int) -> None:
    """One warm-up each, then all in turn, `runs` times; prints a table."""
    costs: dict[str, list[Cost]] = {subject.name: [] for subject in subjects}
    for subject in subjects:
        with contextlib.suppress(RunFailed):
            timed(subject, 0)
    for _ in range(runs):
        for subject in subjects:
            try:
                costs[subject.name].append(cost(subject, steps))
            except RunFailed as error:
                print(error, flush=True)
    print(f"{steps} steps, median of {runs}")
    print(f"{'':<24}{'ms a step':>10}{'lowest':>9}{'start s':>9}{'peak MB':>9}")
    for name, every in costs.items():
        if not every:
            print(f"{name:<24}{'-':>10}")
            continue
        step = [each.step_ms for each in every]
        start = statistics.median(each.start_s for each in every)
        peak = max(each.peak_mb for each in every)
        print(f"{name:<24}{statistics.median(step):>10.1f}{min(step):>9.1f}{start:>9.2f}{peak:>9.0f}")


def long_run(subject: Subject, steps: int) -> None:
    """One long run; prints the time a step took in every tenth of it."""
    try:
        ran, own = timed(subject, steps)
    except RunFailed as error:
        print(error)
        return
    print(f"\n{subject.name}: {steps} steps in {ran.seconds:.1f} s ({own:.1f} s of them the server's)")
    print(f"  peak {ran.peak_mb:.0f} MB; ms a step in every tenth, the server's (it grows) included:")
    print("  " + " ".join(f"{each:.1f}" for each in tenths(ran.out)))


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="steps", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--long", type=int, default=1000, help="steps of the long run, 0 for none (1000)")
    parser.add_argument("--peers", action="store_true", help="also pi and codex, from npm")
    arguments = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory(prefix="steps-") as name:
        folder = Path(name).resolve()
        subjects = our_subjects(folder, arguments.steps)
        ours = subjects[0]
        for peer in install_peers() if arguments.peers else []:
            subjects += peer_subjects(peer, folder)
        measure(subjects, arguments.steps, arguments.runs)
        if arguments.long:
            long_run(ours, arguments.long)
    return 0


if __name__ == "__main__":
    sys.exit(main())
