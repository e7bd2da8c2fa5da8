"""Verification commands found in a folder."""

import json
import os
import sys
from pathlib import Path

import pytest

from kimi_tools.detect import detect


@pytest.fixture(autouse=True)
def _bare_path(tmp_path, monkeypatch):
    """A PATH without any Python, so that what is found is the folder's or ours."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)


OURS = f"{sys.executable} -m pytest -q"


@pytest.mark.parametrize(
    ("files", "commands"),
    [
        ({}, ()),
        ({"test_a.py": ""}, (OURS,)),
        ({"tests/test_a.py": ""}, (OURS,)),
        ({"tests/unit/a_test.py": ""}, (OURS,)),
        ({"pytest.ini": "[pytest]"}, (OURS,)),
        ({"pyproject.toml": "[tool.pytest.ini_options]"}, (OURS,)),
        ({"pyproject.toml": "[project]"}, ()),
        ({"tests/a.test.js": ""}, ()),
        ({"package.json": json.dumps({"scripts": {"test": "node --test"}})}, ("npm test",)),
        (
            {"package.json": json.dumps({"scripts": {"test": 'echo "Error: no test specified" && exit 1'}})},
            (),
        ),
        ({"package.json": "{"}, ()),
        ({"package.json": json.dumps({"scripts": {"test": 3}})}, ()),
        ({"Cargo.toml": ""}, ("cargo test",)),
        ({"go.mod": ""}, ("go test ./...",)),
        ({"Makefile": "build:\n\ntest: build\n\techo\n"}, ("make test",)),
        ({"Makefile": "test := 3\ntests: x\n"}, ()),
        ({"Makefile": "test:\n", "go.mod": ""}, ("go test ./...",)),
        (
            {"tests/test_a.py": "", "package.json": json.dumps({"scripts": {"test": "jest"}})},
            (OURS, "npm test"),
        ),
    ],
)
def test_what_is_found(workspace, files, commands):
    for name, text in files.items():
        (workspace / name).parent.mkdir(parents=True, exist_ok=True)
        (workspace / name).write_text(text)
    assert detect(workspace) == commands


def make_environment(folder: Path, *, with_pytest: bool) -> None:
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(sys.executable)
    packages = folder / "lib" / "python3.11" / "site-packages"
    packages.mkdir(parents=True)
    (folder / "pyvenv.cfg").write_text("")
    if with_pytest:
        (packages / "pytest").mkdir()


def test_the_folders_own_environment_comes_first(workspace):
    (workspace / "test_a.py").touch()
    make_environment(workspace / ".venv", with_pytest=True)
    assert detect(workspace) == (".venv/bin/python -m pytest -q",)


def test_an_environment_without_pytest_is_passed_over(workspace):
    (workspace / "test_a.py").touch()
    make_environment(workspace / ".venv", with_pytest=False)
    assert detect(workspace) == (OURS,)


def test_a_path_with_a_space_is_quoted(workspace, tmp_path, monkeypatch):
    (workspace / "test_a.py").touch()
    make_environment(tmp_path / "my env", with_pytest=True)
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / "my env"))
    assert detect(workspace) == (f"'{tmp_path}/my env/bin/python' -m pytest -q",)


def test_the_python_of_the_path_when_it_has_pytest(workspace, tmp_path, monkeypatch):
    (workspace / "test_a.py").touch()
    make_environment(tmp_path / "env", with_pytest=True)
    monkeypatch.setenv("PATH", str(tmp_path / "env" / "bin"))
    assert detect(workspace) == ("python -m pytest -q",)


def test_a_shim_is_asked_without_importing_the_workspace(workspace, tmp_path, monkeypatch):
    (workspace / "test_a.py").touch()
    (workspace / "pytest.py").write_text("open('canary', 'w')")
    monkeypatch.chdir(workspace)
    shim = tmp_path / "bin" / "python"
    shim.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    os.chmod(shim, 0o755)
    assert detect(workspace) == ("python -m pytest -q",)
    assert not (workspace / "canary").exists()
