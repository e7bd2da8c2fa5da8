"""Decides whether the work is done: runs the verification commands and judges what they returned.

Commands that a person gave must exit 0. Commands that were found in the repository must add no failure to
what failed before the turn; one that cannot start is reported, not held against the work. Knows no model.
"""

from dataclasses import dataclass

from kimi_code.agent.ports import CommandResult, Workspace
from kimi_code.events import Evidence, VerifyFinished, VerifyStarted
from kimi_code.session.session import Session

_COULD_NOT_START = (126, 127)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    evidence: tuple[Evidence, ...]
    failed: tuple[CommandResult, ...]

    @property
    def passed(self) -> bool:
        return not self.failed

    def feedback(self) -> str:
        """What the model is told."""
        parts = [f"$ {r.command}\n{r.summary}\n(exit code {r.exit_code})" for r in self.failed]
        return "\n\n".join(parts)


class Verification:
    """The verification commands of a session. `detected`: found in the repository, not given by a person."""

    def __init__(
        self,
        session: Session,
        workspace: Workspace,
        commands: tuple[str, ...],
        *,
        detected: bool,
        timeout_s: float,
    ) -> None:
        self._session = session
        self._workspace = workspace
        self.commands = commands
        self.detected = detected
        self.timeout_s = timeout_s
        self._before: dict[str, CommandResult] = {}

    async def look(self, timeout_s: float) -> list[CommandResult]:
        """What fails now, before anything was changed; remembered as the state before the turn."""
        failing: list[CommandResult] = []
        for command in self.commands:
            result = await self._workspace.check(command, timeout_s=timeout_s)
            self._before[command] = result
            if result.exit_code != 0 and not _no_start(result):
                failing.append(result)
        return failing

    def forget(self) -> None:
        """A new turn has a new state before it."""
        self._before.clear()

    async def judge(self, checkpoint: str) -> Verdict:
        """Run all commands in the workspace as it is."""
        evidence: list[Evidence] = []
        failed: list[CommandResult] = []
        for command in self.commands:
            self._session.append(VerifyStarted(command=command, detected=self.detected))
            result = await self._workspace.check(command, timeout_s=self.timeout_s)
            passed = await self._passes(result, checkpoint)
            self._session.append(
                VerifyFinished(
                    command=command,
                    exit_code=result.exit_code,
                    summary=result.summary,
                    passed=passed,
                    duration_s=round(result.duration_s, 3),
                )
            )
            evidence.append(
                Evidence(
                    command=command,
                    exit_code=result.exit_code,
                    detected=self.detected,
                    passed=passed,
                    summary=result.summary[-2000:],
                )
            )
            if not passed:
                failed.append(result)
        return Verdict(evidence=tuple(evidence), failed=tuple(failed))

    async def _passes(self, result: CommandResult, checkpoint: str) -> bool:
        if result.exit_code == 0:
            return True
        if not self.detected:
            return False
        if _no_start(result):
            return True
        before = self._before.get(result.command)
        if before is None:
            before = await self._workspace.check_at(checkpoint, result.command, timeout_s=self.timeout_s)
            self._before[result.command] = before
        return adds_no_failure(before, result)


def _no_start(result: CommandResult) -> bool:
    return result.exit_code is None or result.exit_code in _COULD_NOT_START


def adds_no_failure(before: CommandResult, after: CommandResult) -> bool:
    """Whether all that fails after failed before; told by names where both runs give them."""
    if before.exit_code == 0:
        return False
    if before.failures and after.failures:
        return set(after.failures) <= set(before.failures)
    return before.exit_code == after.exit_code
