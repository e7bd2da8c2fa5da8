"""Time and memory of doing nothing: `--version`, and `run "say hi"` against a scripted server.

    python -m benchmarks.startup [--runs N] [--peers]

A bare `python -I -c pass` is measured beside it; with --peers also pi and codex from npm, in turn with ours,
so that a busy machine hurts all alike.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec

from benchmarks.machine import machine
from benchmarks.measured import Ran, environment, kimi_code, run
from benchmarks.peers import Peer, install_peers, peer_environment
from benchmarks.scripted import Scripted

HI = {"replies": [{"text": "Hi."}], "then": "repeat_last"}
PROMPT = "say hi"
BARE = "python -I -c pass"


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table."""

    name: str
    once: Callable[[], Ran]


def _ours(server: Scripted, folder: Path) -> list[Subject]:
    python = str(Path(kimi_code()).parent / "python")
    asks = [kimi_code(), "run", PROMPT, "--model-url", server.url, "-m", "scripted"]
    env = environment(KIMI_LOCAL_HOME=str(folder / "state"))
    work = folder / "work"
    return [
        Subject(name=BARE, once=lambda: run([python, "-I", "-c", "pass"], cwd=work)),
        Subject(name="kimi-code --version", once=lambda: run([kimi_code(), "--version"], cwd=work, env=env)),
        Subject(name="kimi-code say hi", once=lambda: run(asks, cwd=work, env=env)),
    ]


def _theirs(peer: Peer, server: Scripted, folder: Path) -> list[Subject]:
    peer.prepare(server.url)
    env, work = peer_environment(peer), folder / "work"
    version = [peer.binary, "--version"]
    asks = peer.command(server.url, PROMPT, False)
    return [
        Subject(name=f"{peer.name} --version", once=lambda: run(version, cwd=work, env=env)),
        Subject(name=f"{peer.name} say hi", once=lambda: run(asks, cwd=work, env=env)),
    ]


def measure(subjects: list[Subject], runs: int) -> dict[str, list[Ran]]:
    """One warm-up each, then all in turn, `runs` times. A run that failed is shown and left out."""
    for subject in subjects:
        subject.once()
    measured: dict[str, list[Ran]] = {subject.name: [] for subject in subjects}
    for _ in range(runs):
        for subject in subjects:
            ran = subject.once()
            if ran.code == 0:
                measured[subject.name].append(ran)
            else:
                last = (ran.err.strip().splitlines() or ["no message"])[-1]
                print(f"{subject.name}: exit {ran.code}: {last}", flush=True)
    return measured


def report(measured: dict[str, list[Ran]]) -> None:
    bare = [ran.seconds for ran in measured.get(BARE, [])]
    base = statistics.median(bare) if bare else None
    print(f"{'':<24}{'median s':>10}{'best s':>10}{'x bare':>8}{'peak MB':>9}{'runs':>6}")
    for name, every in measured.items():
        if not every:
            print(f"{name:<24}{'-':>10}")
            continue
        median = statistics.median(ran.seconds for ran in every)
        best = min(ran.seconds for ran in every)
        ratio = f"{median / base:.1f}" if base else "-"
        peak = max(ran.peak_mb for ran in every)
        print(f"{name:<24}{median:>10.3f}{best:>10.3f}{ratio:>8}{peak:>9.0f}{len(every):>6}")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="startup", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--peers", action="store_true", help="also pi and codex, from npm")
    arguments = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory(prefix="startup-") as name, Scripted(HI) as server:
        folder = Path(name).resolve()
        (folder / "work").mkdir()
        subjects = _ours(server, folder)
        peers = install_peers() if arguments.peers else []
        with Scripted(HI, module="benchmarks.responses") as other:
            for peer in peers:
                subjects += _theirs(peer, server if peer.server == "kimi_testing.server" else other, folder)
            report(measure(subjects, arguments.runs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
