"""Where things live. Reads the environment at each call; creates what it names, private to the user."""

import os
from pathlib import Path


def _private(path: Path) -> Path:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def _home() -> Path | None:
    home = os.environ.get("KIMI_LOCAL_HOME")
    return Path(home).expanduser().absolute() if home else None


def config_dir() -> Path:
    if home := _home():
        return home
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "kimi-code-local"


def config_file() -> Path:
    return config_dir() / "config.toml"


def data_dir() -> Path:
    if home := _home():
        return _private(home)
    base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return _private(Path(base).expanduser() / "kimi-code-local")


def models_dir() -> Path:
    return _private(data_dir() / "models")


def sessions_dir() -> Path:
    return _private(data_dir() / "sessions")


def cache_dir() -> Path:
    return _private(data_dir() / "kv")


def run_dir() -> Path:
    return _private(data_dir() / "run")
