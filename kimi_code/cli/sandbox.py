"""`kimi-code sandbox -- PROGRAM ARGS...`.

Run a program exactly as the agent would, and return its exit code.
"""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from kimi_code.config import paths
from kimi_code.errors import UsageError
from kimi_tools.box import Launch, Rules
from kimi_tools.bubblewrap import find_box, why_not

app = typer.Typer(add_completion=False)

CommandArgument = Annotated[list[str], typer.Argument(metavar="-- PROGRAM ARGS...", show_default=False)]
CwdFlag = Annotated[Path, typer.Option("-C", "--cwd", help="The folder to work in.")]
NetworkFlag = Annotated[bool, typer.Option("--network", help="Let it use the network.")]


@app.command(context_settings={"allow_interspersed_args": False})
def sandbox(command: CommandArgument, cwd: CwdFlag = Path(), network: NetworkFlag = False) -> None:
    """Run a program in the sandbox that the agent's commands run in; returns its exit code."""
    root = cwd.resolve()
    if not root.is_dir():
        raise UsageError(f"{cwd} is not a folder.", hint="Give one with --cwd.")
    data = paths.data_dir()
    rules = Rules(root=root, state=data / "box", hidden=(data, paths.config_dir()))
    box = find_box(rules)
    if box is None:
        raise UsageError(
            f"there is no sandbox here, so nothing was run: {why_not(rules)}", hint="See: kimi-code doctor"
        )
    launch = box.launch(command, cwd=root, network=network)
    try:
        raise typer.Exit(_run(launch))
    finally:
        launch.close()


def _run(launch: Launch) -> int:
    # A terminal stays outside: the agent's commands have none either.
    inputs = subprocess.DEVNULL if sys.stdin is None or sys.stdin.isatty() else None
    process = subprocess.Popen(
        launch.argv,
        env=launch.env,
        cwd=launch.cwd,
        pass_fds=launch.pass_fds,
        stdin=inputs,
        start_new_session=True,
    )
    try:
        code = process.wait()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if not launch.aftermath(process.pid).started:
        raise UsageError("the sandbox did not start, so nothing was run.", hint="See: kimi-code doctor")
    return 128 - code if code < 0 else code
