"""`kimi-code run`: one task, headless."""

import asyncio
import re
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from kimi_code.errors import UsageError
from kimi_code.headless.launch import Task, run_headless

app = typer.Typer(add_completion=False)

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_duration(text: str) -> float:
    """Seconds of `90`, `90s`, `30m` or `2h`. Raises UsageError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip())
    if match is None or float(match[1]) <= 0:
        raise UsageError(f"--timeout {text}: not a duration.", hint="Write it like 90s, 30m or 2h.")
    return float(match[1]) * _UNITS[match[2]]


@app.command()
def run(
    prompt: Annotated[str | None, typer.Argument(help="The task; - reads it from standard input.")] = None,
    prompt_option: Annotated[
        str | None, typer.Option("-p", "--prompt", help="The task, as an option.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("-m", "--model", help="A model's name or a .gguf file.")
    ] = None,
    model_url: Annotated[str | None, typer.Option(help="An OpenAI-compatible server, .../v1.")] = None,
    api_key_env: Annotated[str | None, typer.Option(help="The variable that holds the server's key.")] = None,
    output_format: Annotated[
        Literal["text", "json", "stream-json"], typer.Option("-o", "--output-format")
    ] = "text",
    approval: Annotated[Literal["manual", "auto", "yolo"] | None, typer.Option()] = None,
    approvals: Annotated[
        Path | None, typer.Option(help="Answers given in advance: JSON lines {match, decision}.")
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only read and plan; change nothing.")] = False,
    sandbox: Annotated[
        bool | None, typer.Option("--sandbox/--no-sandbox", help="Run commands in the kernel sandbox.")
    ] = None,
    verify: Annotated[
        list[str] | None, typer.Option("--verify", help="A command that must exit 0 at the end (repeat).")
    ] = None,
    no_verify: Annotated[bool, typer.Option("--no-verify", help="Do not verify.")] = False,
    attempts: Annotated[
        int | None, typer.Option(min=1, help="Answers to try per repair; default by model size.")
    ] = None,
    max_steps: Annotated[int | None, typer.Option(min=1, help="Model replies, at most.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Tokens, at most.")] = None,
    timeout: Annotated[str | None, typer.Option(help="Time, at most: 90s, 30m, 2h.")] = None,
    thinking: Annotated[bool, typer.Option("--thinking", help="Let the model think first.")] = False,
    instant: Annotated[bool, typer.Option("--instant", help="No thinking.")] = False,
    preserve_thinking: Annotated[bool, typer.Option(help="Keep the thinking of earlier turns.")] = False,
    continue_: Annotated[
        bool, typer.Option("-c", "--continue", help="Go on with this folder's last session.")
    ] = False,
    resume: Annotated[str | None, typer.Option("-r", "--resume", help="Go on with a session.")] = None,
    fork: Annotated[str | None, typer.Option(help="A new session that begins as a copy of this one.")] = None,
    cwd: Annotated[Path, typer.Option("-C", "--cwd", help="The folder to work in.")] = Path(),
    add_dir: Annotated[list[Path] | None, typer.Option(help="A further folder it may use (repeat).")] = None,
) -> None:
    """Do one task and verify it. Exit codes: 0 done, 1 not done, 2 usage, 3 model, 4 budget, 5 approval."""
    if prompt is not None and prompt_option is not None:
        raise UsageError("The task was given twice, as an argument and with -p.", hint="Give it once.")
    if thinking and instant:
        raise UsageError("--thinking and --instant exclude each other.", hint="Give one of them.")
    if sum((continue_, resume is not None, fork is not None)) > 1:
        raise UsageError("--continue, --resume and --fork exclude each other.", hint="Give one of them.")
    task = Task(
        prompt=_task_text(prompt if prompt is not None else prompt_option),
        cwd=cwd,
        add_dirs=tuple(add_dir or ()),
        output_format=output_format,
        model=model,
        model_url=model_url,
        api_key_env=api_key_env,
        approval="plan" if plan else approval,
        approvals=approvals,
        sandbox=sandbox,
        verify=tuple(verify or ()),
        no_verify=no_verify,
        attempts=attempts,
        max_steps=max_steps,
        max_tokens=max_tokens,
        timeout_s=parse_duration(timeout) if timeout is not None else None,
        thinking=True if thinking else False if instant else None,
        preserve_thinking=preserve_thinking,
        resume="" if continue_ else resume,
        fork=fork,
    )
    raise typer.Exit(asyncio.run(run_headless(task)))


def _task_text(prompt: str | None) -> str:
    if prompt == "-":
        prompt = sys.stdin.read() if sys.stdin is not None else ""
    if prompt is None:
        raise UsageError("No task was given.", hint='Give one: kimi-code run "fix the failing test"')
    if not prompt.strip():
        raise UsageError("The task is empty.", hint="Say what should be done.")
    return prompt
