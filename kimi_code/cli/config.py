"""`kimi-code config`: what is configured, where each value came from, what may be set, and trust."""

import re
import sys
from pathlib import Path
from typing import Annotated, Any, cast

import msgspec
import typer

from kimi_code.config import paths, trust
from kimi_code.config.describe import describe
from kimi_code.config.load import Settings, load
from kimi_code.config.project import find_root
from kimi_code.config.schema import Config
from kimi_code.config.visible import visible
from kimi_code.errors import NeedsApproval, UsageError
from kimi_code.session.codec import event_schemas

app = typer.Typer(add_completion=False, help="Show the configuration, its file and its schema.")

JsonFlag = Annotated[bool, typer.Option("--json", help="Print a JSON object.")]
CwdFlag = Annotated[Path, typer.Option("-C", "--cwd", help="The folder whose project counts.")]


@app.callback()
def config() -> None:
    """Show the configuration, its file and its schema; trust a project."""


@app.command()
def path() -> None:
    """Print the path of your configuration file, whether it is there or not."""
    typer.echo(str(paths.config_file()))


@app.command()
def show(json: JsonFlag = False, cwd: CwdFlag = Path()) -> None:
    """Print every setting that holds, and where it came from."""
    settings = load(cwd)
    for warning in settings.warnings:
        typer.echo(f"kimi-code: {visible(warning)}", err=True)
    values = _flat(settings)
    if json:
        table = {
            key: {"value": value, "origin": settings.origins.get(key, "default")}
            for key, value in values.items()
        }
        typer.echo(msgspec.json.format(msgspec.json.encode(table)).decode())
        return
    shown = [
        (f"{key} = {_toml(value)}", settings.origins.get(key, "default")) for key, value in values.items()
    ]
    width = min(60, max(len(left) for left, _ in shown))
    for left, origin in shown:
        typer.echo(f"{left:<{width}}  # {origin}")


@app.command()
def schema(
    events: Annotated[bool, typer.Option("--events", help="Of the events of stream-json.")] = False,
) -> None:
    """Print the JSON Schema of config.toml, or of every event that a run prints."""
    table = event_schemas() if events else msgspec.json.schema(Config)
    typer.echo(msgspec.json.format(msgspec.json.encode(table)).decode())


@app.command(name="trust")
def trust_project(
    folder: Annotated[Path, typer.Argument(help="A folder of the project.")] = Path(),
    forget: Annotated[bool, typer.Option("--forget", help="Trust it no longer.")] = False,
) -> None:
    """Show what a project brings, and let it take effect if you say so. It needs a terminal."""
    root = find_root(folder)
    if forget:
        trust.distrust(root)
        typer.echo(f"{root} is not trusted.")
        return
    shot = trust.snapshot(root)
    standing = trust.standing(shot)
    if shot.obstacle:
        raise UsageError(f"{root} cannot be trusted: {shot.obstacle}.")
    for line in describe(shot):
        typer.echo(f"  {visible(line, 400)}")
    if standing != "untrusted":
        typer.echo(f"{root} brings nothing to trust." if standing == "nothing" else f"{root} is trusted.")
        return
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise NeedsApproval("Trusting a project needs a terminal.", hint="Run this command in one.")
    if not typer.confirm(f"Trust exactly this of {root}?", default=False):
        raise NeedsApproval("It was not trusted.")
    trust.trust(shot)
    typer.echo("Trusted. If any of it changes, it has to be trusted again.")


def _flat(settings: Settings) -> dict[str, Any]:
    """Dotted key -> value, the server that answers first."""
    values: dict[str, Any] = {}
    if settings.endpoint is not None:
        values["endpoint"] = re.sub(r"//[^/@]*@", "//***@", settings.endpoint.base_url)
    for section, value in msgspec.to_builtins(settings.config).items():
        if isinstance(value, dict):
            values |= {f"{section}.{key}": inner for key, inner in cast(dict[str, Any], value).items()}
        else:
            values[section] = value
    return values


def _toml(value: object) -> str:
    """A value, about as TOML would have it."""
    return "(not set)" if value is None else msgspec.json.encode(value).decode()
