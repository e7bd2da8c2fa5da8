"""The folder of models: names, split models, modes, and that nothing outside of it is ever deleted."""

from pathlib import Path

import pytest

from kimi_runtime import store
from kimi_runtime.catalogue import DEFAULT, get
from kimi_runtime.failures import UnknownModel


def fill(folder: Path, *names: str) -> None:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_bytes(name.encode())


def test_resolves_paths_names_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = tmp_path / "models"
    (file,) = get(DEFAULT).files
    assert store.resolve(DEFAULT, models) is None
    fill(models, file, "own.gguf")
    fill(tmp_path / "else", "other.gguf")
    assert store.resolve(DEFAULT, models) == models / file
    assert store.resolve(DEFAULT.upper(), models) == models / file
    assert store.resolve("own", models) == models / "own.gguf"
    assert store.resolve("own.gguf", models) == models / "own.gguf"
    assert store.resolve(str(tmp_path / "else" / "other.gguf"), models) == tmp_path / "else" / "other.gguf"
    monkeypatch.chdir(tmp_path / "else")
    assert store.resolve("other.gguf", models) == Path("other.gguf")
    for absent in ("nothing", "nothing.gguf", "../else/other", "/nowhere/x.gguf", ""):
        assert store.resolve(absent, models) is None


def test_a_split_model_is_one(tmp_path: Path) -> None:
    models = tmp_path / "models"
    fill(models, "m-00001-of-00002.gguf", "single.gguf")
    assert store.resolve("m-00001-of-00002", models) is None
    assert [(m.name, m.complete) for m in store.installed(models)] == [
        ("m-00001-of-00002", False),
        ("single", True),
    ]
    fill(models, "m-00002-of-00002.gguf")
    assert store.resolve("m-00001-of-00002.gguf", models) == models / "m-00001-of-00002.gguf"
    assert store.resolve(str(models / "m-00002-of-00002.gguf"), models) == models / "m-00001-of-00002.gguf"
    (split, _) = store.installed(models)
    assert (len(split.files), split.size, split.complete) == (2, 42, True)
    assert store.remove("m-00001-of-00002", models) == 42
    assert [m.name for m in store.installed(models)] == ["single"]


def test_what_is_no_model_is_not_listed(tmp_path: Path) -> None:
    models = tmp_path / "models"
    assert store.installed(models) == []
    fill(models, "notes.txt", ".hidden.gguf", "sp ace.gguf")
    (models / "folder.gguf").mkdir()
    assert store.installed(models) == []


def test_removes_what_a_pull_left(tmp_path: Path) -> None:
    models = tmp_path / "models"
    partial = store.make_private(store.partial_dir("a.gguf", models))
    (partial / "01.whl").write_bytes(bytes(100))
    store.lock_path("a.gguf", models).touch()
    assert store.remove("a", models) == 100
    assert not partial.exists()
    assert list((models / ".partial").iterdir()) == []
    with pytest.raises(UnknownModel, match="no model 'a' here"):
        store.remove("a", models)


@pytest.mark.parametrize("name", ["../keep", "../keep.gguf", "/etc/keep.gguf", ".partial", "..", "", "*"])
def test_never_removes_elsewhere(tmp_path: Path, name: str) -> None:
    fill(tmp_path, "keep.gguf")
    fill(tmp_path / "models", "model.gguf")
    with pytest.raises(UnknownModel):
        store.remove(name, tmp_path / "models")
    assert (tmp_path / "keep.gguf").exists()
    assert (tmp_path / "models" / "model.gguf").exists()


def test_new_folders_are_private(tmp_path: Path) -> None:
    made = store.make_private(tmp_path / "a" / "b")
    assert [path.stat().st_mode & 0o777 for path in (made, made.parent)] == [0o700, 0o700]


@pytest.mark.parametrize(
    "name", ["x", "x.bin", "../x.gguf", "a/x.gguf", ".x.gguf", "x\n.gguf", "x" * 300 + ".gguf"]
)
def test_names_that_are_no_files_of_the_store(name: str) -> None:
    with pytest.raises(UnknownModel, match="cannot be the name"):
        store.file_name(name)
