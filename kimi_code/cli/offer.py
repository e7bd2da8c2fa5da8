"""Runs a task; where its model is not on this machine yet, offers to fetch it first."""

import asyncio
import sys

import typer

from kimi_code.cli.launch import Task, run_headless
from kimi_code.errors import ModelMissing


def run_with_model(task: Task) -> int:
    """The exit code. Asks only a person at a terminal; else ModelMissing is raised, which says what to do."""
    try:
        return asyncio.run(run_headless(task))
    except ModelMissing as missing:
        if task.output_format != "text" or not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise
        if not typer.confirm(f"{missing.message} Fetch it now ({missing.size})?", default=True, err=True):
            raise
        from kimi_code.cli.models import pull

        pull(missing.name)
        return asyncio.run(run_headless(task))
