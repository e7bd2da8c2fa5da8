"""`kimi-code demo`: the main job on a bundled repository, in a temporary copy."""

import difflib
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.syntax import Syntax

from kimi_code.cli.launch import Task
from kimi_code.cli.offer import run_with_model
from kimi_code.errors import UsageError

app = typer.Typer(add_completion=False)

_TASK = "The tests of this repository fail. Find the bug and fix it."
_CHECK = f"{sys.executable} -m pytest -q"


@app.command()
def demo(
    model: Annotated[
        str | None, typer.Option("-m", "--model", help="A model's name or a .gguf file.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the temporary copy.")] = False,
) -> None:
    """Let the model repair a small repository with a failing test; show the diff and the evidence."""
    source = _example()
    console = Console(stderr=True, highlight=False)
    folder = Path(tempfile.mkdtemp(prefix="kimi-code-demo-"))
    try:
        copy = folder / source.name
        shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__", ".pytest_cache"))
        console.print(f"A copy of a small repository with a bug: {copy}", markup=False)
        console.print(f'$ kimi-code run "{_TASK}" --verify "{_CHECK}"', style="bold", markup=False)
        task = Task(prompt=_TASK, cwd=copy, model=model, verify=(_CHECK,))
        exit_code = run_with_model(task)
        diff = _diff(source, copy)
        if diff:
            console.print(Syntax(diff, "diff", theme="ansi_dark", background_color="default"))
        repaired = exit_code == 0 and bool(diff)
        console.print("Repaired and verified." if repaired else "Not repaired.", style="bold")
        exit_code = exit_code if repaired or exit_code else 1
    finally:
        if keep:
            console.print(f"Kept: {folder}", markup=False)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    raise typer.Exit(exit_code)


def _example() -> Path:
    """The bundled repository: in examples/ of a checkout, else where the package put its data."""
    checkout = Path(__file__).resolve().parent.parent.parent / "examples" / "ledger"
    installed = Path(sysconfig.get_path("data"), "share", "kimi-code-local", "examples", "ledger")
    for place in (checkout, installed):
        if place.is_dir():
            return place
    raise UsageError("The demo's repository is missing.", hint="Install kimi-code-local again.")


def _diff(old: Path, new: Path) -> str:
    lines: list[str] = []
    for path in sorted(new.rglob("*.py")):
        name = str(path.relative_to(new))
        before = old / name
        was = before.read_text().splitlines(keepends=True) if before.exists() else []
        lines += difflib.unified_diff(
            was, path.read_text().splitlines(keepends=True), f"a/{name}", f"b/{name}"
        )
    return "".join(lines)
