"""The demo's repository: its bug is there, it is the only one, and the known repair mends it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "ledger"
BUG = "end = bisect.bisect_left(days, last)"
REPAIR = "end = bisect.bisect_right(days, last)"


def _failing(folder: Path) -> tuple[set[str], str]:
    command = [sys.executable, "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    return set(re.findall(r"^FAILED (\S+)", done.stdout, re.MULTILINE)), done.stdout


def _copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EXAMPLE, tmp_path / "ledger", ignore=shutil.ignore_patterns("__pycache__")))


def test_exactly_the_expected_tests_fail(tmp_path: Path) -> None:
    failing, output = _failing(_copy(tmp_path))
    assert failing == {
        "tests/test_journal.py::test_both_days_are_included",
        "tests/test_report.py::test_the_last_day_belongs_to_the_month",
    }
    assert "2 failed, 22 passed" in output


def test_the_known_repair_mends_it(tmp_path: Path) -> None:
    folder = _copy(tmp_path)
    module = folder / "ledger" / "journal.py"
    source = module.read_text()
    assert source.count(BUG) == 1
    module.write_text(source.replace(BUG, REPAIR))
    failing, output = _failing(folder)
    assert failing == set(), output
    assert "24 passed" in output


def test_it_is_small_and_needs_nothing() -> None:
    files = [path for path in EXAMPLE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert sum(path.stat().st_size for path in files) < 16_000
    imported: set[str] = set()
    for path in EXAMPLE.rglob("*.py"):
        imported |= set(re.findall(r"^(?:from|import) (\w+)", path.read_text(), re.MULTILINE))
    assert imported - sys.stdlib_module_names == {"ledger", "pytest"}
