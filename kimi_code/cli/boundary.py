"""Where errors become sentences and exit codes: the edge between Typer and the process."""

import sys

import typer
from typer.exceptions import TyperException
from typer.main import get_command

from kimi_code.errors import KimiError
from kimi_code.terminal import plain


def run_command(app: typer.Typer, name: str, arguments: list[str]) -> int:
    """Run a Typer app as `kimi-code NAME ARGUMENTS` and return its exit code."""
    try:
        command = get_command(app)
        outcome = command.main(args=arguments, prog_name=f"kimi-code {name}", standalone_mode=False)
    except KimiError as error:
        return complain(error)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 1
    except typer.Abort:
        return 130
    except typer.Exit as leaving:
        return leaving.exit_code
    except TyperException as error:
        sys.stderr.write(plain(f"kimi-code: {error.format_message()}\n  see: kimi-code {name} --help\n"))
        return 2
    return outcome if isinstance(outcome, int) else 0


def complain(error: KimiError) -> int:
    """Say what was wrong and what to do, on stderr; returns the exit code."""
    sys.stderr.write(plain(f"kimi-code: {error.message}\n" + (f"  {error.hint}\n" if error.hint else "")))
    return error.exit_code
