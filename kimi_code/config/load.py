"""Settings from defaults < the user's file < a trusted project's file < the environment < flags.

A project can tighten, never loosen: of its file only deny and ask rules, verification commands and a stricter
mode count, and only once the folder is trusted.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from kimi_code.config import paths, trust
from kimi_code.config.schema import Mode, Provider, Settings, Verify
from kimi_code.errors import UsageError

ENVIRONMENT_PROVIDER = "environment"
_LAXNESS: dict[Mode, int] = {"manual": 0, "auto": 1, "yolo": 2}


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """`origins`: dotted key -> where its value comes from. `warnings` are for the user, a sentence each."""

    settings: Settings
    origins: dict[str, str]
    warnings: tuple[str, ...] = ()


def load(project: Path | None = None, flags: Mapping[str, Any] | None = None) -> Loaded:
    """Read and merge everything. `flags`: dotted key -> value, None where not given. Raises UsageError."""
    origins: dict[str, str] = {}
    warnings: list[str] = []
    settings = Settings()
    user_file = paths.config_file()
    if user_file.exists():
        raw = read_toml(user_file)
        settings = parse(raw, user_file)
        origins.update(dict.fromkeys(_keys(raw), str(user_file)))
    if project is not None:
        settings = _with_project(settings, project, origins, warnings)
    settings = _with_environment(settings, origins)
    for key, value in (flags or {}).items():
        if value is not None:
            settings = _replace(settings, key, value)
            origins[key] = "flag"
    return Loaded(settings=settings, origins=origins, warnings=tuple(warnings))


def read_toml(path: Path) -> dict[str, Any]:
    """Raises UsageError that names the file and the line."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path} is not valid TOML: {error}.", hint="Mend that line and try again."
        ) from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.", hint="Mend its permissions.") from error


def parse(raw: Mapping[str, Any], path: Path) -> Settings:
    """Raises UsageError that names the file, the key and what was expected."""
    try:
        return msgspec.convert(raw, Settings)
    except msgspec.ValidationError as error:
        raise UsageError(f"{path}: {error}.", hint=_suggestion(str(error))) from error


def _suggestion(error: str) -> str:
    unknown = re.search(r"unknown field `([^`]+)`", error)
    if unknown is None:
        return "`kimi-code config schema` prints what is allowed."
    near = difflib.get_close_matches(unknown[1], _keys(msgspec.to_builtins(Settings()), deep=True), n=1)
    return f"Did you mean {near[0]}?" if near else "`kimi-code config schema` prints what is allowed."


def _keys(raw: Mapping[str, Any], prefix: str = "", *, deep: bool = False) -> list[str]:
    keys: list[str] = []
    for key, value in raw.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            keys += [name, *_keys(value, "" if deep else name + ".", deep=deep)]  # pyright: ignore
        else:
            keys.append(name)
    return keys


def _with_project(
    settings: Settings, project: Path, origins: dict[str, str], warnings: list[str]
) -> Settings:
    path = project / ".kimi-code" / "config.toml"
    if not path.is_file():
        return settings
    if not trust.is_trusted(project):
        warnings.append(f"{path} is ignored: this folder is not trusted.")
        return settings
    raw = read_toml(path)
    theirs = parse(raw, path)
    mode = settings.permission.mode
    if "mode" in raw.get("permission", {}) and _LAXNESS[theirs.permission.mode] < _LAXNESS[mode]:
        mode = theirs.permission.mode
        origins["permission.mode"] = str(path)
    ignored = sorted(set(_keys(raw)) - _PROJECT_MAY)
    if ignored:
        warnings.append(f"{path}: a project cannot set {', '.join(ignored)}; ignored.")
    permission = msgspec.structs.replace(
        settings.permission,
        mode=mode,
        ask=settings.permission.ask + theirs.permission.ask,
        deny=settings.permission.deny + theirs.permission.deny,
    )
    verify = settings.verify
    if not verify.commands and theirs.verify.commands:
        verify = Verify(commands=theirs.verify.commands, timeout=verify.timeout)
        origins["verify.commands"] = str(path)
    return msgspec.structs.replace(settings, permission=permission, verify=verify)


_PROJECT_MAY = frozenset(
    {"permission", "permission.mode", "permission.ask", "permission.deny", "verify", "verify.commands"}
)


def _with_environment(settings: Settings, origins: dict[str, str]) -> Settings:
    base_url, model = os.environ.get("KIMI_BASE_URL", ""), os.environ.get("KIMI_MODEL_NAME", "")
    if not base_url:
        return settings
    size = os.environ.get("KIMI_MODEL_MAX_CONTEXT_SIZE", "")
    if size and not (size.isascii() and size.isdigit() and int(size) > 0):
        raise UsageError(
            f"KIMI_MODEL_MAX_CONTEXT_SIZE={size}: not a number of tokens.", hint="Write it like 131072."
        )
    provider = Provider(
        base_url=base_url, api_key_env="KIMI_API_KEY", model=model, context=int(size) if size else None
    )
    origins["model"] = "KIMI_BASE_URL"
    return msgspec.structs.replace(
        settings,
        model=ENVIRONMENT_PROVIDER,
        providers={**settings.providers, ENVIRONMENT_PROVIDER: provider},
    )


def _replace(settings: Settings, key: str, value: Any) -> Settings:
    section, _, field = key.rpartition(".")
    if not section:
        return msgspec.structs.replace(settings, **{field: value})
    changed = msgspec.structs.replace(getattr(settings, section), **{field: value})
    return msgspec.structs.replace(settings, **{section: changed})
