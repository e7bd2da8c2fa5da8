"""A measured process: its time, its memory, its end."""

import sys
from pathlib import Path

import pytest

from benchmarks.machine import machine
from benchmarks.measured import environment, run


def test_output_and_code(tmp_path: Path) -> None:
    code = "import sys; print('out'); sys.stderr.write('err'); sys.exit(3)"
    ran = run([sys.executable, "-c", code], cwd=tmp_path)
    assert (ran.code, ran.out, ran.err) == (3, "out\n", "err")


def test_the_peak_is_that_of_the_largest_child(tmp_path: Path) -> None:
    child = "x = bytearray(120 << 20)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    assert run([sys.executable, "-c", parent], cwd=tmp_path).peak_mb > 120


def test_what_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    ran = run(["bash", "-c", "sleep 60 & echo $!; wait"], cwd=tmp_path, timeout=1)
    assert ran.code is None
    status = Path(f"/proc/{ran.out.strip()}/status")
    assert not status.exists() or "State:\tZ" in status.read_text()


def test_the_environment_names_no_other_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIMI_BASE_URL", "http://elsewhere/v1")
    monkeypatch.setenv("KIMI_LOCAL_HOME", "/somewhere")
    env = environment(EXTRA="1")
    assert "KIMI_BASE_URL" not in env
    assert (env["KIMI_LOCAL_HOME"], env["EXTRA"]) == ("/somewhere", "1")


def test_the_machine_is_one_line() -> None:
    assert "cores" in machine()
    assert "\n" not in machine()
