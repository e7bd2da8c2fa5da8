"""AGENTS.md: bounded, text only, and what was dropped is said (E10, E11)."""

import os
import subprocess
from pathlib import Path

import pytest

from kimi_code.config.instructions import MAX_ALL, MAX_FILE, find_instructions, read_instructions


@pytest.fixture
def repository(workspace: Path) -> Path:
    subprocess.run(["git", "init", "-q", workspace], check=True)
    return workspace


def test_from_the_top_down_to_the_folder(repository: Path) -> None:
    deep = repository / "a" / "b"
    deep.mkdir(parents=True)
    (repository / "AGENTS.md").write_text("top\n")
    (deep / "AGENTS.md").write_text("deep")
    (repository.parent / "AGENTS.md").write_text("outside")
    found = find_instructions(deep)
    assert [text for _, text in found.files] == ["top", "deep"]
    assert found.notes == ()
    text, _ = read_instructions(repository)
    assert text == f'<instructions file="{repository}/AGENTS.md">\ntop\n</instructions>'


def test_e10_huge_binary_and_special_files(repository: Path) -> None:
    path = repository / "AGENTS.md"
    with path.open("wb") as file:
        file.write("é".encode() * 9000 + b"@AGENTS.md\n")
        file.truncate(50 << 20)
    found = find_instructions(repository)
    assert len(found.files[0][1].encode()) <= MAX_FILE
    assert "bytes were left out" in found.notes[0]
    path.write_bytes(b"\x7fELF\0\0")
    assert "not text" in find_instructions(repository).notes[0]
    path.write_bytes(b"\xff\xfe text")
    assert "not UTF-8" in find_instructions(repository).notes[0]
    path.unlink()
    os.mkfifo(path)
    assert "not a regular file" in find_instructions(repository).notes[0]
    path.unlink()
    path.mkdir()
    assert find_instructions(repository).files == ()


def test_e10_a_file_that_names_itself_is_text(repository: Path) -> None:
    (repository / "AGENTS.md").write_text("@AGENTS.md\n@AGENTS.md")
    assert find_instructions(repository).files[0][1] == "@AGENTS.md\n@AGENTS.md"


def test_e11_many_folders_are_capped_and_the_nearest_kept(repository: Path) -> None:
    folder = repository
    for number in range(29):
        (folder / "AGENTS.md").write_text(f"{number} " * 100_000)
        folder = folder / "d"
        folder.mkdir()
    (folder / "AGENTS.md").write_text("nearest")
    found = find_instructions(folder)
    assert sum(len(text.encode()) for _, text in found.files) <= MAX_ALL
    assert found.files[-1][1] == "nearest"
    assert len(found.notes) == 29
    assert sum("was left out" in note for note in found.notes) >= 26


def test_links_lead_to_texts_of_the_project_only(repository: Path) -> None:
    (repository / "CLAUDE.md").write_text("the same")
    (repository / ".env").write_text("KEY=1")
    link = repository / "AGENTS.md"
    link.symlink_to("CLAUDE.md")
    assert find_instructions(repository).files[0][1] == "the same"
    for target in (".env", "/etc/hostname", "../outside.md", "AGENTS.md"):
        link.unlink()
        link.symlink_to(target)
        found = find_instructions(repository)
        assert found.files == ()
        assert "left out" in found.notes[0]
