"""`kimi-code doctor`: what works here, what does not, and what to do about it."""

import importlib.metadata
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from kimi_code.config import paths
from kimi_code.config.load import load
from kimi_code.errors import KimiError
from kimi_code.terminal import plain
from kimi_code.version import __version__
from kimi_code.wiring.models import DEFAULT
from kimi_runtime import store
from kimi_tools.box import Rules
from kimi_tools.bubblewrap import bwrap_path, why_not
from kimi_tools.ripgrep import program as ripgrep

app = typer.Typer(add_completion=False)

# Archived packages of others that install modules of our names.
_CLASHING = ("kimi-code", "kimi-cli")


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """`ok` None: worth knowing, nothing wrong."""

    what: str
    ok: bool | None
    detail: str
    hint: str = ""


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="One JSON list.")] = False) -> None:
    """Check what kimi-code needs here. Exit code 1 where something is wrong."""
    findings = [finding for check in _CHECKS for finding in check()]
    if as_json:
        typer.echo(msgspec.json.encode(findings).decode())
    else:
        for finding in findings:
            mark = {True: "ok   ", False: "WRONG", None: "note "}[finding.ok]
            typer.echo(plain(f"{mark}  {finding.what:<14} {finding.detail}"))
            if finding.hint:
                typer.echo(plain(f"{'':<22}{finding.hint}"))
    raise typer.Exit(1 if any(finding.ok is False for finding in findings) else 0)


def _versions() -> Iterator[Finding]:
    python = ".".join(map(str, sys.version_info[:3]))
    yield Finding(what="kimi-code", ok=True, detail=f"{__version__}, Python {python}")


def _configuration() -> Iterator[Finding]:
    try:
        settings = load(Path.cwd())
    except KimiError as error:
        yield Finding(what="configuration", ok=False, detail=error.message, hint=error.hint)
        return
    there = "" if paths.config_file().exists() else " (not there: defaults)"
    yield Finding(what="configuration", ok=True, detail=f"{paths.config_file()}{there}")
    for warning in settings.warnings:
        yield Finding(what="project", ok=None, detail=warning)
    yield from _model(settings.config.model or DEFAULT, settings.endpoint is not None)


def _model(name: str, remote: bool) -> Iterator[Finding]:
    if remote:
        yield Finding(what="model", ok=True, detail="a server's, by the configuration or the environment")
        return
    path = store.resolve(name, paths.models_dir())
    if path is None:
        detail = f"{name} is not on this machine"
        yield Finding(what="model", ok=False, detail=detail, hint=f"kimi-code models pull {name}")
    else:
        yield Finding(what="model", ok=True, detail=str(path))


def _sandbox() -> Iterator[Finding]:
    rules = Rules(root=Path.cwd().resolve(), state=paths.data_dir() / "box")
    reason = why_not(rules)
    if reason:
        yield Finding(what="sandbox", ok=False, detail=reason, hint="Without it no command runs.")
    else:
        yield Finding(what="sandbox", ok=True, detail=f"{bwrap_path()}, with seccomp and no network")


def _programs() -> Iterator[Finding]:
    found = ripgrep()
    if found is None:
        yield Finding(what="ripgrep", ok=None, detail="not found: searches use the slower fall-back")
    else:
        yield Finding(what="ripgrep", ok=True, detail=str(found))
    git = shutil.which("git")
    yield Finding(what="git", ok=True if git else None, detail=git or "not found: works without")


def _clashes() -> Iterator[Finding]:
    for name in _CLASHING:
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        detail = f"the package {name} {version} of others is installed and shadows modules of ours"
        yield Finding(what="packages", ok=False, detail=detail, hint=f"pip uninstall {name}")
    ours = Path(sysconfig.get_path("scripts")) / "kimi-code"
    first = shutil.which("kimi-code")
    if first is not None and ours.exists() and Path(first).resolve() != ours.resolve():
        yield Finding(what="PATH", ok=None, detail=f"`kimi-code` in your PATH is {first}, not {ours}")


_CHECKS = (_versions, _configuration, _sandbox, _programs, _clashes)
