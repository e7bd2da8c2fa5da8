"""Glob and Grep with ripgrep and with the stand-in: the same answers, bounded, and never outside."""

import asyncio
import os
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from kimi_tools import ripgrep
from kimi_tools.base import Hands, ToolFailure
from kimi_tools.glob import Glob
from kimi_tools.grep import Grep
from kimi_tools.toolset import Toolset

Search = Callable[..., Awaitable[str]]
SLOW_NOTE = "\n[ripgrep is not installed: this is the slow search in Python]"


@pytest.fixture(params=["ripgrep", "stand-in"])
def search(request: pytest.FixtureRequest, hands: Hands) -> Search:
    """The content of a search, without the note of the stand-in (which must be there)."""
    slow = request.param == "stand-in"
    program = (lambda: None) if slow else ripgrep.program
    toolset = Toolset((Glob(program), Grep(program)), hands)

    async def go(name: str, **arguments: object) -> str:
        async with asyncio.timeout(30):
            content = (await toolset.run(name, arguments, print)).content
        if not slow:
            return content
        assert "ripgrep is not installed" in content
        return content.replace(SLOW_NOTE, "").replace(f"; {ripgrep.SLOW}", "")

    return go


@pytest.fixture
def tree(workspace: Path) -> Path:
    files = {
        "src/app.py": "import os\n\ndef main():\n    return os.getcwd()\n",
        "src/deep/tool.py": "def tool():\n    pass\n",
        "src/deep/data.json": '{"def": 1}\n',
        "README.md": "Run `def`.\n",
        ".hidden/x.py": "def hidden(): pass\n",
        "build/out.py": "def built(): pass\n",
        "debug.log": "def logged\n",
        "keep.log": "def kept\n",
        ".gitignore": "build/\n*.log\n!keep.log\n",
        "src/.gitignore": "*.json\n",
        ".git/config.py": "def git(): pass\n",
    }
    for number, (name, text) in enumerate(files.items()):
        path = workspace / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        os.utime(path, (1_000_000 - number, 1_000_000 - number))
    return workspace


def test_ripgrep_is_the_packaged_one() -> None:
    program = ripgrep.program()
    assert program is not None
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    assert version.startswith("ripgrep ")


async def test_a_planted_rg_is_never_run(tree: Path, hands: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
    rg = tree / "rg"
    rg.write_text(f"#!/bin/sh\ntouch {tree}/canary\n")
    rg.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tree}:.:{os.environ['PATH']}")
    monkeypatch.chdir(tree)
    ripgrep.program.cache_clear()
    outcome = await Toolset((Grep(),), hands).run("Grep", {"pattern": "getcwd"}, print)
    assert "app.py" in outcome.content
    assert not (tree / "canary").exists()


async def test_a_planted_configuration_is_not_read(
    tree: Path, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tree / "rc").write_text(f"--pre={tree}/evil\n")
    (tree / "evil").write_text(f"#!/bin/sh\ntouch {tree}/canary\n")
    (tree / "evil").chmod(0o755)
    monkeypatch.setenv("RIPGREP_CONFIG_PATH", str(tree / "rc"))
    await Toolset((Grep(),), hands).run("Grep", {"pattern": "getcwd"}, print)
    assert not (tree / "canary").exists()


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("**/*.py", ["src/app.py", "src/deep/tool.py", ".hidden/x.py"]),
        ("*.py", ["src/app.py", "src/deep/tool.py", ".hidden/x.py"]),
        ("src/*.py", ["src/app.py"]),
        ("./src/**", ["src/app.py", "src/deep/tool.py", "src/.gitignore"]),
        ("src/", ["src/app.py", "src/deep/tool.py", "src/.gitignore"]),
        ("src/deep/*.{py,json}", ["src/deep/tool.py"]),
        ("*.{md,log}", ["README.md", "keep.log"]),
        ("[!a-r]ool.py", ["src/deep/tool.py"]),
        ("?EADME.md", ["README.md"]),
        ("**/deep/**/*.py", ["src/deep/tool.py"]),
    ],
)
async def test_glob_newest_first_and_without_what_is_ignored(
    tree: Path, search: Search, pattern: str, found: list[str]
) -> None:
    assert (await search("Glob", pattern=pattern)).splitlines() == found


async def test_glob_in_a_folder_and_with_a_limit(tree: Path, search: Search) -> None:
    assert await search("Glob", pattern="*.py", path="src/deep") == "src/deep/tool.py"
    limited = await search("Glob", pattern="*.py", head_limit=1)
    assert limited.splitlines()[0] == "src/app.py"
    assert "2 more files" in limited
    assert await search("Glob", pattern="*.rs") == "No file matches *.rs in the workspace."


async def test_glob_of_an_absolute_pattern_inside(tree: Path, search: Search) -> None:
    assert await search("Glob", pattern=f"{tree}/src/*.py") == "src/app.py"


@pytest.mark.parametrize("pattern", ["/etc/*", "../*", "a/../../*", "", "a\nb", "{a,b}" * 20])
async def test_glob_patterns_that_are_refused(tree: Path, search: Search, pattern: str) -> None:
    with pytest.raises(ToolFailure):
        await search("Glob", pattern=pattern)


async def test_grep_content(tree: Path, search: Search) -> None:
    content = await search("Grep", pattern=r"^def \w+")
    assert content == (
        ".hidden/x.py\n1:def hidden(): pass\nkeep.log\n1:def kept\n"
        "src/app.py\n3:def main():\nsrc/deep/tool.py\n1:def tool():"
    )


async def test_grep_context_and_without_numbers(tree: Path, search: Search) -> None:
    assert await search("Grep", pattern="main", path="src/app.py", **{"-C": 1}) == (
        "src/app.py\n2-\n3:def main():\n4-    return os.getcwd()"
    )
    assert await search("Grep", pattern="MAIN", **{"-i": True, "-n": False}) == "src/app.py\ndef main():"
    (tree / "far.txt").write_text("hit\n1\n2\n3\nhit\n")
    assert await search("Grep", pattern="hit", path="far.txt", **{"-A": 1}) == (
        "far.txt\n1:hit\n2-1\n--\n5:hit"
    )


async def test_grep_counts_and_names(tree: Path, search: Search) -> None:
    assert await search("Grep", pattern="def", output_mode="count", glob="src/**/*.py") == (
        "src/app.py:1\nsrc/deep/tool.py:1"
    )
    names = await search("Grep", pattern="def", output_mode="files_with_matches", head_limit=2)
    assert names.splitlines()[:2] == [".hidden/x.py", "README.md"]
    assert "3 more files" in names


async def test_grep_several_lines(tree: Path, search: Search) -> None:
    assert await search("Grep", pattern=r"main\(\):.*getcwd", multiline=True) == (
        "src/app.py\n3:def main():\n4:    return os.getcwd()"
    )


async def test_a_pattern_that_looks_like_a_flag(tree: Path, search: Search) -> None:
    (tree / "flags.txt").write_text("use --pre=evil here\n")
    for pattern in ("--pre=evil", "-e", "--"):
        found = await search("Grep", pattern=pattern, path="flags.txt", output_mode="count")
        assert found == ("No match for '-e' in flags.txt." if pattern == "-e" else "flags.txt:1")
    assert await search("Glob", pattern="--files") == "No file matches --files in the workspace."


async def test_a_bad_pattern_brings_the_reason(tree: Path, search: Search) -> None:
    with pytest.raises(ToolFailure, match="cannot be used"):
        await search("Grep", pattern="(open")


async def test_long_lines_and_many_lines_are_clipped(workspace: Path, search: Search) -> None:
    (workspace / "a.txt").write_text("x" * 10_000 + "\n" + "x\n" * 500)
    lines = (await search("Grep", pattern="x", head_limit=50)).splitlines()
    assert len(lines[1]) < 600
    assert len(lines) == 52
    assert "451 more lines" in lines[-1]


async def test_a_secret_shown_by_no_search(tree: Path, search: Search) -> None:
    (tree / ".env").write_text("def SECRET\n")
    (tree / "src" / ".env.local").write_text("def SECRET\n")
    assert "SECRET" not in await search("Grep", pattern="SECRET|main")
    assert ".env" not in await search("Glob", pattern="**")


async def test_a_name_with_an_escape_in_it(workspace: Path, search: Search) -> None:
    (workspace / "a\x1b[2Jb.txt").write_text("x\x1b[31m\n")
    assert await search("Glob", pattern="*.txt") == "a\\x1b[2Jb.txt"
    assert await search("Grep", pattern="x") == "a\\x1b[2Jb.txt\n1:x\\x1b[31m"


async def test_a_folder_that_is_missing(tree: Path, search: Search) -> None:
    for name in ("Glob", "Grep"):
        with pytest.raises(ToolFailure, match="does not exist"):
            await search(name, pattern="x", path="sources")
    with pytest.raises(ToolFailure, match="not a folder"):
        await search("Glob", pattern="x", path="README.md")


async def test_a_pattern_without_end_is_stopped(
    workspace: Path, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stand-in's regular expressions can run for ever; the loop goes on meanwhile."""
    (workspace / "a.txt").write_text("a" * 60 + "b\n")
    toolset = Toolset((Grep(lambda: None),), hands)
    task = asyncio.create_task(toolset.run("Grep", {"pattern": "(a+)+$"}, print))
    await asyncio.sleep(0.5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_n12_a_search_among_sparse_gigabytes(tree: Path, hands: Hands) -> None:
    (tree / "zeros").touch()
    os.truncate(tree / "zeros", 10**10)
    async with asyncio.timeout(10):
        outcome = await Toolset((Grep(),), hands).run("Grep", {"pattern": "getcwd"}, print)
    assert outcome.content == "src/app.py\n4:    return os.getcwd()"
