"""Asking git about a repository that would like to run something."""

import subprocess

import pytest

from kimi_tools.git import GitState, describe, executable
from kimi_tools.githead import head_branch


def test_branch_and_counts(repository):
    assert describe(repository) == GitState(branch="main")
    (repository / "a.txt").write_text("two\n")
    (repository / "new").write_text("x")
    (repository / "staged").write_text("x")
    subprocess.run(("git", "add", "staged"), cwd=repository, check=True)
    assert describe(repository) == GitState(branch="main", staged=1, changed=1, untracked=1)
    assert describe(repository / "..") is None


def test_a_detached_head_is_told_by_its_commit(repository):
    subprocess.run(("git", "checkout", "-q", "--detach"), cwd=repository, check=True)
    commit = subprocess.run(
        ("git", "rev-parse", "HEAD"), cwd=repository, check=True, capture_output=True, text=True
    )
    state = describe(repository)
    assert state is not None
    assert commit.stdout.startswith(state.branch)
    assert head_branch(repository) == state.branch


def test_the_branch_is_read_without_git(repository, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert head_branch(repository) == "main"
    (repository / "sub").mkdir()
    assert head_branch(repository / "sub") == "main"
    assert head_branch(tmp_path) is None
    assert describe(repository) is None


def test_the_branch_of_a_worktree(repository, tmp_path):
    subprocess.run(
        ("git", "worktree", "add", "-q", "-b", "feature/x", tmp_path / "tree"), cwd=repository, check=True
    )
    assert head_branch(tmp_path / "tree") == "feature/x"


ATTACKS = {
    "core.fsmonitor": "touch canary; false",
    "core.pager": "touch canary",
    "core.hooksPath": "hooks",
    "diff.external": "touch canary",
    "filter.evil.clean": "touch canary; cat",
    "filter.evil.process": "touch canary",
    "filter.evil.required": "true",
}


def test_d01_nothing_of_the_repository_runs(repository):
    canary = repository / "canary"
    for key, value in ATTACKS.items():
        subprocess.run(("git", "config", key, value), cwd=repository, check=True)
    (repository / ".gitattributes").write_text("*.txt filter=evil\n")
    (repository / "a.txt").write_text("two\n")
    state = describe(repository)
    assert state is not None
    assert not canary.exists()
    assert state.changed == 1
    subprocess.run(("git", "status"), cwd=repository, check=False, capture_output=True)
    assert canary.exists(), "a plain git status runs what the repository chose"


def test_d01_a_planted_bare_repository_is_not_used(workspace):
    subprocess.run(("git", "init", "-q", "--bare", "."), cwd=workspace, check=True)
    assert describe(workspace) is None


def test_git_is_not_taken_from_the_workspace(repository, monkeypatch):
    (repository / "git").write_text("#!/bin/sh\ntouch canary\n")
    (repository / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{repository}:.:/usr/bin:/bin")
    found = executable(repository)
    assert found is not None
    assert not found.is_relative_to(repository)


@pytest.mark.parametrize("text", ["", "ref: refs/heads/.invalid\n"])
def test_an_odd_head_is_no_branch(workspace, text):
    (workspace / ".git").mkdir()
    (workspace / ".git" / "HEAD").write_text(text)
    assert head_branch(workspace) is None
