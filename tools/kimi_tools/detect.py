"""Finds the commands that verify a repository. Reads its files, runs nothing of it."""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec

_PYTEST_CONFIG = (
    ("pytest.ini", ""),
    ("pyproject.toml", "[tool.pytest"),
    ("tox.ini", "[pytest]"),
    ("setup.cfg", "[tool:pytest]"),
    ("conftest.py", ""),
)
_TEST_FOLDERS = ("tests", "test", "testing")
_MAKE_TEST = re.compile(r"^test\s*:(?!=)", re.MULTILINE)
_NO_NPM_TEST = "no test specified"
_CONFIG_BYTES = 1_000_000
_ASK_S = 5


class _Package(msgspec.Struct):
    scripts: dict[str, str] = {}


def detect(root: Path) -> tuple[str, ...]:
    """Verification commands for this folder, best first; empty where none can be told."""
    found: list[str] = []
    if has_python_tests(root):
        found.append(f"{python_with_pytest(root)} -m pytest -q")
    if _has_npm_test(root):
        found.append("npm test")
    if (root / "Cargo.toml").is_file():
        found.append("cargo test")
    if (root / "go.mod").is_file():
        found.append("go test ./...")
    # A make target usually runs what was found above, or installs something first.
    if not found and _MAKE_TEST.search(_read(root / "Makefile") or _read(root / "makefile")):
        found.append("make test")
    return tuple(found)


def has_python_tests(root: Path) -> bool:
    """Whether pytest would find something: a configuration, or files named as it expects."""
    if any((root / name).is_file() and mark in _read(root / name) for name, mark in _PYTEST_CONFIG):
        return True
    folders = [root, *(root / name for name in _TEST_FOLDERS)]
    if any(_has_test_file(folder) for folder in folders):
        return True
    return any(_has_test_file(inner) for name in _TEST_FOLDERS for inner in _subfolders(root / name))


def _has_test_file(folder: Path) -> bool:
    try:
        names = os.listdir(folder)
    except OSError:
        return False
    return any(n.endswith(".py") and (n.startswith("test_") or n.endswith("_test.py")) for n in names)


def _subfolders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def _has_npm_test(root: Path) -> bool:
    try:
        package = msgspec.json.decode(_read(root / "package.json") or "{}", type=_Package)
    except msgspec.DecodeError:
        return False
    script = package.scripts.get("test", "")
    return bool(script) and _NO_NPM_TEST not in script


def _read(path: Path) -> str:
    """The beginning of a text file; empty where there is none."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(_CONFIG_BYTES)
    except OSError:
        return ""


def python_with_pytest(root: Path) -> str:
    """The interpreter to run this folder's tests with, as a word for the shell.

    The folder's own virtualenv, the active one, PATH's, the one this program runs on; the first that has
    pytest, else the first there is.
    """
    environments = [root / ".venv", root / "venv"]
    active = os.environ.get("VIRTUAL_ENV")
    if active:
        environments.append(Path(active))
    present = [path for path in environments if os.access(path / "bin" / "python", os.X_OK)]
    for path in present:
        if _installed(path):
            return _word(path / "bin" / "python", root)
    on_path = next((name for name in ("python", "python3") if shutil.which(name)), None)
    if on_path and _path_python_has_pytest(on_path):
        return on_path
    if importlib.util.find_spec("pytest") is not None:
        return shlex.quote(sys.executable)
    if present:
        return _word(present[0] / "bin" / "python", root)
    return on_path or shlex.quote(sys.executable)


def _word(path: Path, root: Path) -> str:
    return shlex.quote(str(path.relative_to(root) if path.is_relative_to(root) else path))


def _installed(prefix: Path) -> bool:
    patterns = ("lib/python3*/site-packages/pytest", "lib/python3/dist-packages/pytest")
    return any(next(prefix.glob(pattern), None) is not None for pattern in patterns)


def _is_script(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(2) == b"#!"
    except OSError:
        return False


def _path_python_has_pytest(name: str) -> bool:
    """By looking at its folder.

    A version manager's shim has to be asked, away from the workspace's modules.
    """
    found = shutil.which(name) or name
    real = Path(found).resolve()
    if not _is_script(real):
        # A virtualenv's python is a link: its own folder comes before the one it links to.
        return _installed(Path(found).parent.parent) or (
            not (Path(found).parent.parent / "pyvenv.cfg").exists() and _installed(real.parent.parent)
        )
    try:
        asked = subprocess.run(
            (found, "-I", "-c", "import pytest"), cwd="/", capture_output=True, timeout=_ASK_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return asked.returncode == 0
