"""`kimi-code run`: one task, headless."""

import re
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from kimi_code.cli.launch import Task
from kimi_code.cli.offer import run_with_model
from kimi_code.errors import UsageError

app = typer.Typer(add_completion=False)

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_duration(text: str) -> float:
    """Seconds of `90`, `90s`, `30m` or `2h`. Raises UsageError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip())
    if match is None or float(match[1]) <= 0:
        raise UsageError(f"--timeout {text}: not a duration.", hint="Write it like 90s, 30m or 2h.")
    return float(match[1]) * _UNITS[match[2]]


PromptArgument = Annotated[str | None, typer.Argument(help="The task; - reads it from standard input.")]
PromptOptionFlag = Annotated[str | None, typer.Option("-p", "--prompt", help="The task, as an option.")]
ModelFlag = Annotated[str | None, typer.Option("-m", "--model", help="A model's name or a .gguf file.")]
ModelUrlFlag = Annotated[str | None, typer.Option(help="An OpenAI-compatible server, .../v1.")]
ApiKeyEnvFlag = Annotated[str | None, typer.Option(help="The variable that holds the server's key.")]
OutputFormatFlag = Annotated[Literal["text", "json", "stream-json"], typer.Option("-o", "--output-format")]
ApprovalFlag = Annotated[Literal["manual", "auto", "yolo"] | None, typer.Option()]
ApprovalsFlag = Annotated[
    Path | None, typer.Option(help="Answers given in advance: JSON lines {match, decision}.")
]
PlanFlag = Annotated[bool, typer.Option("--plan", help="Only read and plan; change nothing.")]
SandboxFlag = Annotated[
    bool | None, typer.Option("--sandbox/--no-sandbox", help="Run commands in the kernel sandbox.")
]
VerifyFlag = Annotated[
    list[str] | None, typer.Option("--verify", help="A command that must exit 0 at the end (repeat).")
]
NoVerifyFlag = Annotated[bool, typer.Option("--no-verify", help="Do not verify.")]
AttemptsFlag = Annotated[
    int | None, typer.Option(min=1, help="Answers to try per repair; default by model size.")
]
MaxStepsFlag = Annotated[int | None, typer.Option(min=1, help="Model replies, at most.")]
MaxTokensFlag = Annotated[int | None, typer.Option(min=1, help="Tokens, at most.")]
TimeoutFlag = Annotated[str | None, typer.Option(help="Time, at most: 90s, 30m, 2h.")]
ThinkingFlag = Annotated[bool, typer.Option("--thinking", help="Let the model think first.")]
InstantFlag = Annotated[bool, typer.Option("--instant", help="No thinking.")]
PreserveThinkingFlag = Annotated[bool, typer.Option(help="Keep the thinking of earlier turns.")]
ContinueFlag = Annotated[
    bool, typer.Option("-c", "--continue", help="Go on with this folder's last session.")
]
ResumeFlag = Annotated[str | None, typer.Option("-r", "--resume", help="Go on with a session.")]
ForkFlag = Annotated[str | None, typer.Option(help="A new session that begins as a copy of this one.")]
CwdFlag = Annotated[Path, typer.Option("-C", "--cwd", help="The folder to work in.")]
AddDirFlag = Annotated[list[Path] | None, typer.Option(help="A further folder it may use (repeat).")]


@app.command()
def run(
    prompt: PromptArgument = None,
    prompt_option: PromptOptionFlag = None,
    model: ModelFlag = None,
    model_url: ModelUrlFlag = None,
    api_key_env: ApiKeyEnvFlag = None,
    output_format: OutputFormatFlag = "text",
    approval: ApprovalFlag = None,
    approvals: ApprovalsFlag = None,
    plan: PlanFlag = False,
    sandbox: SandboxFlag = None,
    verify: VerifyFlag = None,
    no_verify: NoVerifyFlag = False,
    attempts: AttemptsFlag = None,
    max_steps: MaxStepsFlag = None,
    max_tokens: MaxTokensFlag = None,
    timeout: TimeoutFlag = None,
    thinking: ThinkingFlag = False,
    instant: InstantFlag = False,
    preserve_thinking: PreserveThinkingFlag = False,
    continue_: ContinueFlag = False,
    resume: ResumeFlag = None,
    fork: ForkFlag = None,
    cwd: CwdFlag = Path(),
    add_dir: AddDirFlag = None,
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
    raise typer.Exit(run_with_model(task))


def _task_text(prompt: str | None) -> str:
    if prompt == "-":
        prompt = sys.stdin.read() if sys.stdin is not None else ""
    if prompt is None:
        raise UsageError("No task was given.", hint='Give one: kimi-code run "fix the failing test"')
    if not prompt.strip():
        raise UsageError("The task is empty.", hint="Say what should be done.")
    return prompt
