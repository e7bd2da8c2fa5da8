"""Rules over paths and tools (A-group policy, B02, B06)."""

from pathlib import Path
from typing import Literal

import pytest

from kimi_code.config.rule import BadRule
from kimi_code.config.rules import RuleBook
from kimi_code.config.schema import Permission
from kimi_code.config.visible import visible

_ROOT = Path("/w/repo")


def judge(rule: str, kind: Literal["allow", "deny"], tool: str, *paths: str, root: Path = _ROOT) -> bool:
    """Whether the rule decides."""
    book = RuleBook(Permission(**{kind: (rule,)}), root)
    effect = {"Write": "write", "Edit": "write", "Read": "read", "Grep": "read", "Glob": "read"}.get(tool)
    verdict = book.judge_use(tool, effect or "execute", paths)  # type: ignore[arg-type]
    return verdict is not None and verdict.decision == kind


@pytest.mark.parametrize(
    ("pattern", "path", "meant"),
    [
        ("**", "/w/repo/a/b", True),
        ("**", "/w/repo-evil/a", False),
        ("**", "/etc/passwd", False),
        ("src/**", "/w/repo/src/a/b.py", True),
        ("src/**", "/w/repo/src2/a", False),
        ("src/**", "/w/repo/x/src/a", False),
        ("src", "/w/repo/src/a", True),
        ("src/", "/w/repo/x/src/a", True),
        ("./src", "/w/repo/src/a", True),
        ("*.py", "/w/repo/a/b.py", True),
        ("*.py", "/w/repo/a/b.pyc", False),
        ("src/*.py", "/w/repo/src/a.py", True),
        ("src/*.py", "/w/repo/src/a/b.py", False),
        ("src/**/test_*.py", "/w/repo/src/test_a.py", True),
        ("src/**/test_*.py", "/w/repo/src/x/y/test_a.py", True),
        ("file[0-9].txt", "/w/repo/file7.txt", True),
        ("file[!0-9].txt", "/w/repo/file7.txt", False),
        ("file?.txt", "/w/repo/file/.txt", False),
        ("/w/repo/**", "/w/repo/x", True),
        ("/w/repo/**", "/w/repo-evil/x", False),
        ("/w/repo", "/w/repo-evil/x", False),
        ("/etc/**", "/etc/passwd", True),
        ("../repo-evil/**", "/w/repo-evil/x", True),
        ("src/../**", "/w/repo/x", True),
        ("[z-a]", "/w/repo/x", False),
    ],
)
def test_b02_paths_are_compared_by_names(pattern: str, path: str, meant: bool) -> None:
    assert judge(f"Write({pattern})", "allow", "Write", path) is meant
    assert judge(f"Write({pattern})", "deny", "Write", path) is meant


def test_every_path_must_be_allowed_and_one_is_enough_to_deny() -> None:
    assert not judge("Read(src/**)", "allow", "Read", "/w/repo/src/a", "/w/repo/b")
    assert judge("Read(src/**)", "deny", "Read", "/w/repo/src/a", "/w/repo/b")
    assert not judge("Read(src/**)", "allow", "Read")


def test_b06_what_must_not_be_read_is_denied_to_all_that_reads(tmp_path: Path) -> None:
    home = Path("~").expanduser()
    for tool in ("Read", "Grep", "Glob"):
        assert judge("Read(~/.ssh/**)", "deny", tool, f"{home}/.ssh/id_rsa")
    assert judge("Read(~/.ssh/**)", "deny", "Grep", f"{home}/.ssh")
    assert not judge("Read(~/.ssh/**)", "deny", "Read", f"{home}/.sshx")
    # Paths come with links followed; the rule's own links are followed too.
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert judge("Read(link/**)", "deny", "Read", f"{tmp_path}/real/a", root=tmp_path)
    assert not judge("Read(link/**)", "allow", "Read", f"{tmp_path}/real/a", root=tmp_path)


def test_which_tools_a_rule_is_about() -> None:
    path = "/w/repo/a"
    assert judge("Write(a)", "deny", "Edit", path)
    assert judge("Edit(a)", "deny", "Write", path)
    assert not judge("Write(a)", "allow", "Edit", path)
    assert judge("Read(**)", "allow", "Grep", path)
    assert not judge("Read(**)", "deny", "Write", path)
    assert judge("Write", "deny", "Write", "/anywhere")


def test_tools_of_servers_are_named_with_wildcards() -> None:
    assert judge("mcp__git__*", "allow", "mcp__git__log")
    assert not judge("mcp__git__*", "allow", "mcp__github__log")
    assert judge("mcp__*", "deny", "mcp__a__b")
    assert not judge("mcp__*", "allow", "Write", "/w/repo/a")


@pytest.mark.parametrize(
    "text", ["", "Bash(", "Bash(a", "Bash)", "ba sh(x)", "Bash( )", "Read(!a)", "Bash(a\nb)"]
)
def test_what_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(BadRule):
        RuleBook(Permission(allow=(text,)), _ROOT)


def test_a19_visible_text_hides_nothing() -> None:
    assert visible("a b/ü") == "a b/ü"
    assert visible("a\r\x1b[2K\u202eb\nc\U000e0001") == "a\\r\\x1b[2K\\u202eb\\nc\\U000e0001"
    assert visible("ls" + " " * 2000 + "; curl x") == "ls [2,000 blank chars hidden] ; curl x"
    long = visible("a" * 5000 + "curl", 300)
    assert long.startswith("aaa")
    assert long.endswith("curl")
    assert "[4,704 chars hidden]" in long
