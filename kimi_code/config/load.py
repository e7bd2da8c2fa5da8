"""The settings of a run, and where each came from.

Stronger beats weaker: defaults < the user's file < a trusted project's file < environment < flags. Prints
nothing; what was ignored is in `Settings.warnings`.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import msgspec

from kimi_code.config import endpoint as endpoints
from kimi_code.config import paths, trust
from kimi_code.config.endpoint import Endpoint
from kimi_code.config.limits import tighten
from kimi_code.config.project import find_root
from kimi_code.config.schema import Config
from kimi_code.config.table import MAX_BYTES, Table, read_table
from kimi_code.errors import UsageError

_SECTIONS = ("permission", "sandbox", "verify", "agent", "runtime")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What holds.

    endpoint: the server that answers; None: the local runtime runs `config.model` ("" is its default).
    origins: dotted key ("permission.mode", "providers.NAME") -> where its value came from.
    project: the project's top folder, real. trust: what stands about what the project brings.
    """

    config: Config
    endpoint: Endpoint | None
    origins: dict[str, str]
    project: Path
    trust: trust.Standing
    warnings: tuple[str, ...] = ()


def load(cwd: Path, flags: Mapping[str, object] | None = None) -> Settings:
    """The settings for a folder. Raises UsageError for a wrong user file, environment or flag.

    `flags`: "model", "model_url", "api_key_env" and dotted keys ("permission.mode", "sandbox.enabled",
    "verify.commands" ...) as the command line gave them; None is: not given.
    """
    given = {key: value for key, value in (flags or {}).items() if value is not None}
    layers = _Layers()
    layers.add_table(_user_table(), str(paths.config_file()))
    root = find_root(cwd)
    shot = trust.snapshot(root)
    standing = trust.standing(shot)
    warnings = _add_project(layers, shot, standing)
    layers.add_environment()
    server = {key: given.pop(key) for key in ("model", "model_url", "api_key_env") if key in given}
    for key, value in given.items():
        layers.put(key, value, "flag")
    config = layers.build()
    chosen = endpoints.choose(config, {key: str(value) for key, value in server.items()})
    origin = chosen.origin or layers.origins["model"]
    return Settings(
        config=msgspec.structs.replace(config, model=chosen.model),
        endpoint=chosen.endpoint,
        origins={**layers.origins, "model": origin},
        project=root,
        trust=standing,
        warnings=warnings,
    )


def _user_table() -> Table:
    path = paths.config_file()
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return {}
    except OSError as failure:
        raise UsageError(
            f"{path} cannot be read: {failure.strerror}.", hint="Mend it or move it away."
        ) from failure
    return read_table(str(path), data)


def _add_project(layers: "_Layers", shot: trust.Snapshot, standing: trust.Standing) -> tuple[str, ...]:
    """Add what a trusted project sets; returns what was ignored."""
    where = shot.root / trust.CONFIG
    if standing == "untrusted":
        why = f" It cannot be trusted: {shot.obstacle}." if shot.obstacle else ""
        brings = ", ".join(sorted({name.split("/")[0] for name in shot.files})) or ".kimi-code"
        hint = "" if why else " To look at it and trust it: kimi-code config trust"
        return (f"{shot.root} is not trusted, so what it brings in {brings} is ignored.{why}{hint}",)
    data = shot.files.get(trust.CONFIG)
    if data is None:
        return ()
    try:
        table = read_table(str(where), data)
    except UsageError as failure:
        return (f"{failure.message} The project's configuration is ignored.",)
    taken, left_out = tighten(layers.values, table)
    for key, value in taken.items():
        layers.put(key, value, str(where))
    return tuple(f"{where}: ignored {entry}." for entry in left_out)


def default_values() -> dict[str, object]:
    """What holds without any configuration, by dotted key; providers are not among them."""
    return _Layers().values


class _Layers:
    """Values by dotted key, each with its origin; a stronger layer is put over a weaker one."""

    def __init__(self) -> None:
        default = Config()
        self.values: dict[str, object] = {"model": default.model}
        self.providers: dict[str, Any] = {}
        for section in _SECTIONS:
            struct = getattr(default, section)
            for field in struct.__struct_fields__:
                self.values[f"{section}.{field}"] = getattr(struct, field)
        self.origins = dict.fromkeys(self.values, "default")

    def put(self, key: str, value: object, origin: str) -> None:
        if key not in self.values:
            raise KeyError(key)
        self.values[key] = tuple(cast(list[object], value)) if isinstance(value, list) else value
        self.origins[key] = origin

    def add_table(self, table: Table, origin: str) -> None:
        for section, value in table.items():
            if section == "providers":
                self.providers.update(value)
                self.origins.update(dict.fromkeys((f"providers.{name}" for name in value), origin))
            elif section == "model":
                self.put(section, value, origin)
            else:
                for key, inner in value.items():
                    self.put(f"{section}.{key}", inner, origin)

    def add_environment(self) -> None:
        """Without a server in KIMI_BASE_URL, the other two are about the local model."""
        if os.environ.get("KIMI_BASE_URL"):
            return
        if name := os.environ.get("KIMI_MODEL_NAME"):
            self.put("model", name, "KIMI_MODEL_NAME")
        if (context := endpoints.context_of_environment()) is not None:
            self.put("runtime.context", context, endpoints.CONTEXT)

    def build(self) -> Config:
        table: dict[str, Any] = {"providers": self.providers}
        for key, value in self.values.items():
            section, _, field = key.partition(".")
            if field:
                table.setdefault(section, {})[field] = value
            else:
                table[section] = value
        try:
            return msgspec.convert(table, Config)
        except msgspec.ValidationError as failure:
            # The files were checked one by one: what is wrong was given on the command line.
            raise UsageError(
                f"A flag has a wrong value: {failure}.", hint="See: kimi-code --help"
            ) from failure
