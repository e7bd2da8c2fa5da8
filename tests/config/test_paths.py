"""Where things live, and that they are private (I01, B16)."""

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from kimi_code.config import paths
from kimi_code.errors import StorageFailure, UsageError


@pytest.fixture
def open_umask() -> Iterator[None]:
    old = os.umask(0)
    yield
    os.umask(old)


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_kimi_local_home_holds_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "state"
    monkeypatch.setenv("KIMI_LOCAL_HOME", str(home))
    assert paths.config_file() == home / "config.toml"
    assert not home.exists()
    assert (paths.sessions_dir(), paths.models_dir()) == (home / "sessions", home / "models")
    assert paths.cache_dir() == home / "kv"


def test_xdg_folders_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KIMI_LOCAL_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert paths.config_file() == tmp_path / ".config/kimi-code-local/config.toml"
    assert paths.data_dir() == tmp_path / "data/kimi-code-local"
    monkeypatch.delenv("XDG_DATA_HOME")
    assert paths.data_dir() == tmp_path / ".local/share/kimi-code-local"


@pytest.mark.usefixtures("open_umask")
def test_i01_folders_are_0700_and_files_0600_whatever_the_umask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "a" / "b"
    monkeypatch.setenv("KIMI_LOCAL_HOME", str(home))
    folders = [
        paths.sessions_dir(),
        paths.models_dir(),
        paths.cache_dir(),
        paths.run_dir(),
        home,
        home.parent,
    ]
    assert {_mode(folder) for folder in folders} == {0o700}
    paths.write_private(home / "x" / "file", b"x")
    assert (_mode(home / "x"), _mode(home / "x" / "file")) == (0o700, 0o600)
    assert os.listdir(home / "x") == ["file"]


def test_an_open_folder_of_ours_is_closed_but_not_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KIMI_LOCAL_HOME", str(tmp_path))
    tmp_path.chmod(0o755)
    (tmp_path / "sessions").mkdir(mode=0o755)
    assert _mode(paths.sessions_dir()) == 0o700
    assert _mode(tmp_path) == 0o755


def test_what_stands_in_the_way_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("KIMI_LOCAL_HOME", str(tmp_path / "file"))
    with pytest.raises(StorageFailure, match="file is not a folder"):
        paths.data_dir()
    monkeypatch.setenv("KIMI_LOCAL_HOME", str(tmp_path / "file" / "x"))
    with pytest.raises(StorageFailure, match="cannot be created"):
        paths.data_dir()


def test_no_home_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KIMI_LOCAL_HOME")
    monkeypatch.setenv("HOME", "nowhere")
    with pytest.raises(UsageError, match="no home"):
        paths.config_file()


def test_sockets_go_to_the_runtime_folder_if_it_is_private(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = Path(f"/tmp/kimi-test-{os.getpid()}")
    runtime.mkdir(mode=0o700)
    try:
        monkeypatch.delenv("KIMI_LOCAL_HOME")
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "d"))
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
        assert paths.run_dir() == runtime / "kimi-code-local"
        runtime.chmod(0o777)
        assert not paths.run_dir().is_relative_to(runtime)
    finally:
        shutil.rmtree(runtime)


def test_b16_a_long_home_gets_a_private_folder_in_tmp_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KIMI_LOCAL_HOME", str(tmp_path / ("long" * 30)))
    first = paths.run_dir()
    try:
        assert first.parent == Path("/tmp")
        assert _mode(first) == 0o700
        assert len(os.fsencode(first / ("s" * 32))) <= 107
        assert paths.run_dir() == first
        # Somebody put a link in its place.
        first.rmdir()
        first.symlink_to(tmp_path)
        second = paths.run_dir()
        assert second != first
        assert _mode(second) == 0o700
        second.chmod(0o777)
        third = paths.run_dir()
        assert third not in (first, second)
        third.rmdir()
        second.rmdir()
    finally:
        first.unlink()
