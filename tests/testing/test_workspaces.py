"""The workspaces of the other tests are what they say they are."""

import subprocess
import sys
from pathlib import Path

from kimi_testing.workspaces import (
    FIXED_SOURCE,
    buggy_package,
    commit_all,
    git,
    git_repository,
    plain_folder,
    snapshot,
    write_files,
)


def pytest_in(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )


def test_one_test_fails_until_the_bug_is_gone(tmp_path: Path) -> None:
    root = buggy_package(tmp_path / "p")
    broken = pytest_in(root)
    assert broken.returncode == 1
    assert "1 failed, 3 passed" in broken.stdout
    (root / "intervals/core.py").write_text(FIXED_SOURCE)
    assert pytest_in(root).returncode == 0


def test_a_repository_is_the_same_every_time(tmp_path: Path) -> None:
    first, second = (buggy_package(tmp_path / name, commit=True) for name in "ab")
    assert git(first, "rev-parse", "HEAD") == git(second, "rev-parse", "HEAD")
    assert git(first, "status", "--porcelain") == ""
    write_files(first, {"more.txt": "x"})
    assert git(first, "status", "--porcelain").strip() == "?? more.txt"
    assert commit_all(first, "More") == git(first, "rev-parse", "HEAD").strip()


def test_snapshots_see_content_mode_and_links(tmp_path: Path) -> None:
    root = plain_folder(tmp_path / "p")
    before = snapshot(root)
    assert before == snapshot(plain_folder(tmp_path / "q"))
    (root / "notes.txt").chmod(0o755)
    (root / "link").symlink_to("notes.txt")
    after = snapshot(root)
    assert {name for name in after if after[name] != before.get(name)} == {"notes.txt", "link"}


def test_an_empty_repository(tmp_path: Path) -> None:
    root = git_repository(tmp_path / "e")
    assert snapshot(root) == {}
    assert git(root, "log", "--format=%s").strip() == "Begin"
