"""`kimi-code policy check`: what the permission rules make of a command."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from kimi_code.config.load import load
from kimi_code.config.rules import RuleBook
from kimi_code.errors import UsageError

app = typer.Typer(add_completion=False, help="Say what the permission rules make of a command.")

_DENIED = 5

CommandArgument = Annotated[
    list[str], typer.Argument(metavar="-- 'CMD'", help="One shell string.", show_default=False)
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print a JSON object.")]
CwdFlag = Annotated[Path, typer.Option("-C", "--cwd", help="The folder it would run in.")]


@app.callback()
def policy() -> None:
    """Say what the permission rules make of a command."""


@app.command(context_settings={"allow_interspersed_args": False})
def check(command: CommandArgument, json: JsonFlag = False, cwd: CwdFlag = Path()) -> None:
    """Judge CMD as if it had to run outside the sandbox in manual mode. Exit codes: 0 allow, 5 otherwise."""
    if len(command) != 1:
        raise UsageError(
            "The command is not one string.", hint="Quote it: kimi-code policy check --json -- 'git status'"
        )
    settings = load(cwd)
    for warning in settings.warnings:
        typer.echo(f"kimi-code: {warning}", err=True)
    verdict = RuleBook(settings.config.permission, cwd.resolve()).judge_command(command[0])
    if json:
        typer.echo(msgspec.json.encode(verdict).decode())
    else:
        typer.echo(f"{verdict.decision}: {verdict.reason}")
    raise typer.Exit(0 if verdict.decision == "allow" else _DENIED)
