"""Nothing outside the workspace is read or written, whatever a path looks like; special files never wait."""

import asyncio
import os
import socket
from pathlib import Path

import pytest

from kimi_tools.base import Hands, ToolFailure
from kimi_tools.paths import OutsideWorkspace, resolve
from kimi_tools.toolset import Toolset

ESCAPES = ["../x", "a/../../x", "sub/../../x", "/etc/passwd", "~/.ssh/id_rsa", "~root/x", "/", ".."]


@pytest.mark.parametrize("path", ESCAPES)
@pytest.mark.parametrize("write", [False, True])
def test_b01_paths_that_lead_out(hands: Hands, path: str, write: bool) -> None:
    with pytest.raises(OutsideWorkspace, match="outside the workspace"):
        resolve(hands, path, write=write)


def test_b01_paths_that_stay_inside(hands: Hands) -> None:
    (hands.root / "a").mkdir()
    for path in ("a/../b.py", "./b.py", str(hands.root / "b.py"), "a/../a/../b.py"):
        assert resolve(hands, path, write=True).shown == "b.py"


async def test_b02_a_sibling_with_a_like_name_is_outside(hands: Hands, toolset: Toolset) -> None:
    evil = hands.root.with_name(hands.root.name + "-evil")
    evil.mkdir()
    for path in (str(evil / "x"), f"../{evil.name}/x"):
        with pytest.raises(OutsideWorkspace):
            toolset.effect("Write", {"path": path, "content": "canary"})
        with pytest.raises(OutsideWorkspace):
            await toolset.run("Write", {"path": path, "content": "canary"}, print)
    assert list(evil.iterdir()) == []


async def test_b04_a_link_is_refused_by_its_real_target(
    hands: Hands, toolset: Toolset, tmp_path: Path
) -> None:
    keys = tmp_path / "authorized_keys"
    keys.write_text("mine\n")
    (hands.root / "cfg.json").symlink_to(keys)
    for name, arguments in (
        ("Write", {"path": "cfg.json", "content": "evil"}),
        ("Write", {"path": "cfg.json", "content": "evil", "mode": "append"}),
        ("Edit", {"path": "cfg.json", "old_string": "mine", "new_string": "evil"}),
        ("Read", {"path": "cfg.json"}),
    ):
        with pytest.raises(OutsideWorkspace, match=str(keys)):
            await toolset.run(name, arguments, print)
    assert keys.read_text() == "mine\n"


async def test_b04_a_link_to_nothing_outside_makes_no_file(
    hands: Hands, toolset: Toolset, tmp_path: Path
) -> None:
    (hands.root / "cfg.json").symlink_to(tmp_path / "new")
    with pytest.raises(OutsideWorkspace, match="new"):
        await toolset.run("Write", {"path": "cfg.json", "content": "evil"}, print)
    assert not (tmp_path / "new").exists()


def test_b04_approval_names_where_an_inner_link_leads(hands: Hands, toolset: Toolset) -> None:
    (hands.root / "real.txt").write_text("x")
    (hands.root / "link.txt").symlink_to("real.txt")
    effect = toolset.effect("Write", {"path": "link.txt", "content": "y"})
    assert effect.target == "link.txt -> real.txt"
    assert effect.paths == (str(hands.root / "real.txt"),)


async def test_b06_a_secret_folder_by_a_link(hands: Hands, toolset: Toolset) -> None:
    ssh = Path(os.environ["HOME"]) / ".ssh"
    ssh.mkdir()
    (ssh / "id_rsa").write_text("canary-key\n")
    (hands.root / "keys").symlink_to(ssh)
    with pytest.raises(OutsideWorkspace):
        await toolset.run("Read", {"path": "keys/id_rsa"}, print)
    for name in ("Grep", "Glob"):
        with pytest.raises(OutsideWorkspace):
            await toolset.run(name, {"pattern": "canary*", "path": "keys"}, print)
    grep = await toolset.run("Grep", {"pattern": "canary"}, print)
    glob = await toolset.run("Glob", {"pattern": "**/*rsa"}, print)
    assert "id_rsa" not in grep.content + glob.content


async def test_b06_secrets_of_a_home_that_is_the_workspace(tmp_path: Path) -> None:
    home = Path(os.environ["HOME"]).resolve()
    (home / ".ssh").mkdir()
    (home / ".ssh" / "id_rsa").write_text("canary-key\n")
    (home / ".env").write_text("TOKEN=canary-env\n")
    (home / ".env.example").write_text("TOKEN=canary-sample\n")
    hands = Hands(root=home, spill=tmp_path / "spill")
    toolset = Toolset((), hands)
    for path in (".ssh/id_rsa", ".env", ".ssh/new"):
        with pytest.raises(OutsideWorkspace, match="secrets"):
            resolve(toolset.hands, path)
    assert resolve(hands, ".env.example").shown == ".env.example"


async def test_b06_a_search_of_a_home_leaves_its_secrets_out(tmp_path: Path, toolset: Toolset) -> None:
    home = toolset.hands.root
    os.environ["HOME"] = str(home)
    (home / ".ssh").mkdir()
    (home / ".ssh" / "id_rsa").write_text("canary-key\n")
    (home / ".env").write_text("canary-env\n")
    (home / ".env.local").write_text("canary-env\n")
    (home / "notes.txt").write_text("canary-note\n")
    grep = await toolset.run("Grep", {"pattern": "canary"}, print)
    glob = await toolset.run("Glob", {"pattern": "**"}, print)
    assert "canary-note" in grep.content
    assert "notes.txt" in glob.content
    for hidden in ("canary-key", "canary-env", "id_rsa", ".env"):
        assert hidden not in grep.content + glob.content


@pytest.mark.parametrize(
    "path", [".git/hooks/pre-commit", ".GIT/config", "sub/.git/config", ".kimi-code/config.toml", ".mcp.json"]
)
def test_what_can_run_programs_cannot_be_written(hands: Hands, path: str) -> None:
    with pytest.raises(OutsideWorkspace, match="cannot be written by tools"):
        resolve(hands, path, write=True)
    assert resolve(hands, path).shown == path
    assert resolve(hands, ".gitignore", write=True).shown == ".gitignore"


def test_a_git_folder_that_lies_elsewhere_in_the_workspace(hands: Hands) -> None:
    (hands.root / "bare").mkdir()
    (hands.root / ".git").write_text("gitdir: bare\n")
    with pytest.raises(OutsideWorkspace):
        resolve(hands, "bare/config", write=True)


def test_extra_roots_and_spill(hands: Hands, tmp_path: Path) -> None:
    extra = tmp_path / "extra"
    extra.mkdir()
    hands.extra_roots = (extra,)
    hands.spill.mkdir()
    assert resolve(hands, str(extra / "x"), write=True).shown == str(extra / "x")
    assert resolve(hands, str(hands.spill / "out.txt")).real == hands.spill / "out.txt"
    with pytest.raises(OutsideWorkspace):
        resolve(hands, str(hands.spill / "out.txt"), write=True)


async def test_b10_links_to_the_root_and_to_themselves(hands: Hands, toolset: Toolset) -> None:
    (hands.root / "sub").mkdir()
    (hands.root / "sub" / "a.py").write_text("canary = 1\n")
    (hands.root / "all").symlink_to("/")
    (hands.root / "sub" / "up").symlink_to("..")
    (hands.root / "loop").symlink_to("loop")
    async with asyncio.timeout(2):
        glob = await toolset.run("Glob", {"pattern": "**/*.py"}, print)
        grep = await toolset.run("Grep", {"pattern": "canary", "output_mode": "count"}, print)
    assert glob.content == "sub/a.py"
    assert grep.content == "sub/a.py:1"
    with pytest.raises(OutsideWorkspace):
        await toolset.run("Glob", {"pattern": "*", "path": "all"}, print)
    with pytest.raises(ToolFailure, match="link"):
        await toolset.run("Read", {"path": "loop"}, print)


async def test_b11_special_files_are_named_and_not_opened(hands: Hands, toolset: Toolset) -> None:
    os.mkfifo(hands.root / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(hands.root)
        server.bind("sock")
        server.listen()
        for path, what in (("pipe", "a pipe"), ("sock", "a socket"), (".", "a folder")):
            async with asyncio.timeout(1):
                for name, more in (
                    ("Read", {}),
                    ("Write", {"content": "x"}),
                    ("Edit", {"old_string": "a", "new_string": "b"}),
                ):
                    with pytest.raises(ToolFailure, match=what):
                        await toolset.run(name, {"path": path, **more}, print)
                if path != ".":
                    with pytest.raises(ToolFailure, match=what):
                        await toolset.run("Grep", {"path": path, "pattern": "x"}, print)
    async with asyncio.timeout(2):
        grep = await toolset.run("Grep", {"pattern": "x"}, print)
    assert grep.content == "No match for 'x' in the workspace."


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/tty", "/dev/stdin", "/dev/fd/0"])
async def test_b11_devices(toolset: Toolset, path: str) -> None:
    async with asyncio.timeout(1):
        with pytest.raises(OutsideWorkspace):
            await toolset.run("Read", {"path": path}, print)


async def test_b12_process_files(hands: Hands, toolset: Toolset) -> None:
    (hands.root / "self").symlink_to("/proc/self")
    for path in (
        "/proc/self/environ",
        "/proc/1/environ",
        "/proc/self/mem",
        "/proc/self/fd/0",
        "self/environ",
    ):
        with pytest.raises(OutsideWorkspace):
            await toolset.run("Read", {"path": path}, print)


def test_b12_a_workspace_that_is_the_whole_machine(tmp_path: Path) -> None:
    hands = Hands(root=Path("/"), spill=tmp_path)
    for path in ("proc/self/environ", "/sys/kernel/notes", "/dev/zero", "/etc/shadow"):
        if Path("/", path).exists():
            with pytest.raises(OutsideWorkspace):
                resolve(hands, path)


@pytest.mark.parametrize("path", ["", "  ", "a\0b", "a\ud800b"])
def test_what_is_no_path(hands: Hands, path: str) -> None:
    with pytest.raises(ToolFailure):
        resolve(hands, path)
