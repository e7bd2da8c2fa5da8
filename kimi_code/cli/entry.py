"""The `kimi-code` command: finds the subcommand and loads that alone, so that each starts quickly."""

import difflib
import importlib
import os
import sys

from kimi_code.version import __version__

COMMANDS = {
    "run": ("kimi_code.cli.run", "One task, headless. Also: kimi-code -p PROMPT"),
    "demo": (
        "kimi_code.cli.demo",
        "A bundled repository with a failing test, repaired by the embedded model",
    ),
    "sessions": ("kimi_code.cli.sessions", "List, show, verify, export or remove sessions"),
    "models": ("kimi_code.cli.models", "List, pull or remove models"),
    "serve": ("kimi_code.cli.serve", "Serve a model to any OpenAI client on this machine"),
    "policy": ("kimi_code.cli.policy", "Say what the permission rules make of a command"),
    "sandbox": ("kimi_code.cli.sandbox", "Run a program exactly as the agent would"),
    "config": ("kimi_code.cli.config", "Show the configuration, its file and its schema"),
    "doctor": ("kimi_code.cli.doctor", "Check that everything works here"),
    "completion": ("kimi_code.cli.completion", "Print a completion script for bash, zsh or fish"),
}

_HELP = """\
Usage: kimi-code [COMMAND] [OPTIONS]

A coding agent for the terminal that owns its model.

Commands:
{commands}

  kimi-code COMMAND --help    the options of a command
  kimi-code --version
"""


def main() -> None:
    """Run the command line and exit with the code of the contract."""
    arguments = sys.argv[1:]
    if arguments == ["--version"]:
        _write(f"kimi-code {__version__}\n")
        return
    if arguments in (["--help"], ["-h"], ["help"]):
        _write(_HELP.format(commands="\n".join(f"  {n:<12}{h}" for n, (_, h) in COMMANDS.items())))
        return
    sys.exit(_dispatch(arguments))


def _dispatch(arguments: list[str]) -> int:
    if not arguments:
        return _complain(
            "the full-screen interface is not part of this version.",
            'give a task instead: kimi-code run "fix the failing test"',
        )
    name, rest = arguments[0], arguments[1:]
    if name.startswith("-"):
        name, rest = "run", arguments
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean: kimi-code {near[0]}" if near else "see: kimi-code --help"
        return _complain(f"there is no command {name!r}.", hint)
    from kimi_code.cli.boundary import run_command

    return run_command(importlib.import_module(COMMANDS[name][0]).app, name, rest)


def _complain(message: str, hint: str) -> int:
    sys.stderr.write(f"kimi-code: {message}\n  {hint}\n")
    return 2


def _write(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError:
        # The reader is gone; Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
