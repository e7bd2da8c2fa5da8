"""Trust is bound to what a project brings, byte by byte. And where a project begins."""

import os
import subprocess
from pathlib import Path

import pytest

from kimi_code.config import paths, trust
from kimi_code.config.describe import describe
from kimi_code.config.project import find_root, read_regular


@pytest.fixture
def project(workspace: Path) -> Path:
    (workspace / ".kimi-code" / "agents").mkdir(parents=True)
    (workspace / ".kimi-code" / "config.toml").write_text("[verify]\ncommands = ['make check']\n")
    return workspace


def test_nothing_to_trust(workspace: Path) -> None:
    assert trust.standing(trust.snapshot(workspace)) == "nothing"
    # What stands in for guarded names while a command runs is not brought by the project.
    for name in (".kimi-code", ".mcp.json", ".agents"):
        (workspace / name).mkdir()
    assert trust.is_trusted(workspace)


def test_trust_holds_until_anything_changes(project: Path) -> None:
    assert not trust.is_trusted(project)
    trust.trust(trust.snapshot(project))
    assert trust.is_trusted(project)
    assert paths.data_dir().joinpath("trust.json").stat().st_mode & 0o777 == 0o600
    for name in (".kimi-code/agents/a.md", ".mcp.json", ".agents/skills/s/SKILL.md", ".agents/agents/a.md"):
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
        assert not trust.is_trusted(project)
        path.unlink()
        assert trust.is_trusted(project)
    (project / ".kimi-code/config.toml").write_text("[verify]\ncommands = ['make  check']\n")
    assert not trust.is_trusted(project)


def test_trust_is_for_one_place(project: Path, tmp_path: Path) -> None:
    trust.trust(trust.snapshot(project))
    copy = tmp_path / "copy"
    project.rename(copy)
    assert not trust.is_trusted(copy)
    trust.trust(trust.snapshot(copy))
    trust.distrust(copy)
    assert not trust.is_trusted(copy)


def test_what_is_no_plain_file_cannot_be_trusted(project: Path) -> None:
    link = project / ".kimi-code" / "agents" / "a.md"
    link.symlink_to("/etc/hostname")
    shot = trust.snapshot(project)
    assert "link" in shot.obstacle
    with pytest.raises(ValueError, match="link"):
        trust.trust(shot)
    link.unlink()
    os.mkfifo(link)
    assert "regular" in trust.snapshot(project).obstacle
    assert not trust.is_trusted(project)


def test_too_much_cannot_be_trusted(project: Path) -> None:
    (project / ".kimi-code" / "big").write_bytes(b"x" * (17 << 20))
    assert "more than" in trust.snapshot(project).obstacle


def test_a_folder_of_very_many_files_cannot_be_trusted(project: Path) -> None:
    for number in range(2100):
        (project / ".kimi-code" / "agents" / f"{number}").touch()
    assert "more than" in trust.snapshot(project).obstacle


def test_a_broken_store_trusts_nothing(project: Path) -> None:
    trust.trust(trust.snapshot(project))
    paths.write_private(paths.data_dir() / "trust.json", b"\xff{")
    assert not trust.is_trusted(project)


def test_e04_what_would_take_effect_is_described(project: Path) -> None:
    (project / ".mcp.json").write_text(
        '{"mcpServers": {"s": {"command": "./evil", "args": ["-x"], "env": {"A": "b"}}}}'
    )
    (project / ".kimi-code/config.toml").write_text(
        "[verify]\ncommands = ['make check']\n[sandbox]\nenabled = false\n[permission]\nmode = 'manual'\n"
    )
    lines = "\n".join(describe(trust.snapshot(project)))
    assert "to verify: make check" in lines
    assert 'MCP server s: "./evil" ["-x"] env ["A"]' in lines
    assert 'sets permission.mode = "manual"' in lines
    assert "ignored: sandbox.enabled" in lines
    (project / ".mcp.json").write_text("[1]")
    assert "not a list of MCP servers" in "\n".join(describe(trust.snapshot(project)))


def test_the_project_begins_at_the_repository(workspace: Path) -> None:
    deep = workspace / "a" / "b"
    deep.mkdir(parents=True)
    assert find_root(deep) == deep
    (workspace / ".git").mkdir()  # an empty folder is no repository
    assert find_root(deep) == deep
    subprocess.run(["git", "init", "-q", workspace], check=True)
    assert find_root(deep) == workspace
    (workspace / "link").symlink_to(deep)
    assert find_root(workspace / "link") == workspace
    far = workspace.joinpath(*(["d"] * 31))
    far.mkdir(parents=True)
    assert find_root(far) == far


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_repository_of_somebody_else_is_not_the_project(workspace: Path) -> None:
    subprocess.run(["git", "init", "-q", workspace], check=True)
    inner = workspace / "mine"
    inner.mkdir()
    os.chown(workspace / ".git", 12345, 12345)
    assert find_root(inner) == inner
    assert find_root(workspace) == workspace


def test_only_regular_files_are_read(workspace: Path) -> None:
    (workspace / "file").write_bytes(b"12345")
    (workspace / "link").symlink_to("file")
    os.mkfifo(workspace / "pipe")
    assert read_regular(workspace / "file", 3) == b"1234"
    for name in ("link", "pipe", ".", "missing"):
        with pytest.raises(OSError, match=name if name == "missing" else r"Errno|regular"):
            read_regular(workspace / name, 3)
