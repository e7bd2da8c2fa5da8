"""From the ending of a turn to its result: status, exit code, sums. Pure."""

from kimi_code.agent.budget import Budget
from kimi_code.agent.loop import Ending
from kimi_code.errors import KimiError
from kimi_code.events import EndReason, Evidence, Result, ResultStatus

_OUTCOMES: dict[EndReason, tuple[ResultStatus, int]] = {
    "done": ("done", 0),
    "failed": ("failed", 1),
    "blocked": ("blocked", 5),
    "step_limit": ("budget", 4),
    "token_limit": ("budget", 4),
    "time_limit": ("budget", 4),
    "loop": ("budget", 4),
    "interrupted": ("interrupted", 130),
    "denied": ("denied", 5),
    "error": ("error", 1),
}


def settle(ending: Ending, evidence: tuple[Evidence, ...], denied: int) -> Ending:
    """A turn in which something was denied is only done when verification proves it."""
    if denied and ending.reason in ("done", "failed") and not (evidence and all(e.passed for e in evidence)):
        detail = f"{denied} call(s) needed an approval that was denied or could not be asked for"
        return Ending(reason="denied", text=ending.text, detail=detail)
    return ending


def result_of(
    ending: Ending,
    error: KimiError | None,
    *,
    session_id: str,
    budget: Budget,
    calls: int,
    evidence: tuple[Evidence, ...],
    files_changed: tuple[str, ...],
) -> Result:
    status, exit_code = _OUTCOMES[ending.reason]
    if error is not None:
        exit_code = error.exit_code
    return Result(
        status=status,
        result=ending.text,
        session_id=session_id,
        exit_code=exit_code,
        steps=budget.steps,
        calls=calls,
        usage=budget.usage,
        verification=list(evidence),
        files_changed=list(files_changed),
        duration_s=round(budget.elapsed, 3),
        error=error.message if error is not None else (ending.detail or None),
    )
