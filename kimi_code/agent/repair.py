"""For models too small for exact edits: many candidates of one prompt, and the tests choose.

The model is shown the suspect sources and what fails, and writes whole functions. Each answer is put into a
throw-away copy of the workspace and verified there; only one that holds touches the workspace, as ordinary
Write calls. One greedy answer comes first, then rounds of sampled ones, which cost little more together than
one alone: they share the prompt, and a batch shares each pass over the weights.
"""

from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass

from kimi_code.agent.budget import Budget
from kimi_code.agent.candidates import proposed_files
from kimi_code.agent.case import Case, make_case
from kimi_code.agent.ports import CommandResult, Message, Model, Reply, Request, Sampling, Workspace
from kimi_code.events import CandidatesStarted, CandidateTried, EndReason, Progress, Usage
from kimi_code.session.session import Session

SOURCE_CHARS = 9000
ANSWER_TOKENS = 1000
BATCHES = (16, 16, 32)  # a step of 8 sequences costs as much as one of 16

Wording = Callable[[Case], str]
"""The message to the model; empty where this wording does not fit the case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """`wording` is an index; temperature 0 is greedy and has count 1."""

    wording: int
    count: int
    temperature: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """The answer that holds, the files it changes (path -> text), and how much still fails with it."""

    reply: Reply
    files: dict[str, str]
    failures: int


def rounds(attempts: int, wordings: int) -> list[Round]:
    """`attempts` answers in all: a greedy one for each of the first two wordings, then batches in turn."""
    plan: list[Round] = []
    left = attempts
    while left > 0:
        number = len(plan)
        if number < min(2, wordings):
            plan.append(Round(wording=number, count=1, temperature=0.0))
        else:
            batch = number - min(2, wordings)
            count = min(left, BATCHES[min(batch, len(BATCHES) - 1)])
            plan.append(Round(wording=batch % wordings, count=count, temperature=0.8))
        left -= plan[-1].count
    return plan


class Repair:
    """One search for a repair. `checks`: what each verification command returned before any change."""

    def __init__(
        self,
        session: Session,
        model: Model,
        workspace: Workspace,
        *,
        system: str,
        wordings: tuple[Wording, ...],
        attempts: int,
        partial: bool,
    ) -> None:
        """`partial`: fewer failures than before will do where no answer mends all (detected commands)."""
        self._session = session
        self._model = model
        self._workspace = workspace
        self._system = system
        self._wordings = wordings
        self._attempts = attempts
        self._partial = partial
        self._seen: set[frozenset[tuple[str, str]]] = set()
        self._best: Repaired | None = None
        self.tried = 0

    async def run(
        self, task: str, checks: list[CommandResult], budget: Budget
    ) -> Repaired | EndReason | None:
        """The first answer that verifies; the reason where a budget ended it; None where no answer holds."""
        failing = [check for check in checks if check.exit_code != 0]
        failures = "\n\n".join(f"$ {check.command}\n{check.summary}" for check in failing)
        hints = [task, failures, *(check.output for check in failing)]
        shown = self._workspace.suspects(hints, SOURCE_CHARS)
        tests = {path: text for path, text in shown.items() if self._workspace.is_test(path)}
        suspects = {path: text for path, text in shown.items() if path not in tests}
        if not suspects:
            return None
        # Only these can be changed: a test is never mended to make it pass.
        sources = {path: self._workspace.read_text(path) for path in suspects}
        case = make_case(task, suspects, tests, failures)
        messages = [message for wording in self._wordings if (message := wording(case))]
        for number, each in enumerate(rounds(self._attempts, len(messages)), 1):
            if spent := budget.spent():
                return spent[0]
            found = await self._round(number, each, messages[each.wording], sources, checks, budget)
            if found is None and number > 3:
                found = self._best
            if found is not None:
                return found
        return self._best

    async def _round(
        self,
        number: int,
        each: Round,
        message: str,
        sources: Mapping[str, str],
        checks: list[CommandResult],
        budget: Budget,
    ) -> Repaired | None:
        count = each.count if budget.steps_left is None else min(each.count, budget.steps_left)
        self._session.append(CandidatesStarted(round=number, count=count))
        request = Request(
            system=self._system,
            tools=(),
            messages=(Message(role="user", text=message),),
            sampling=Sampling(
                temperature=each.temperature, seed=number, max_tokens=ANSWER_TOKENS, thinking=False
            ),
        )
        async with aclosing(self._model.sample(request, count)) as answers:
            async for reply in answers:
                budget.spend(reply.usage)
                files = proposed_files(reply.text, sources)
                failures, summary = await self._try(files, checks)
                self._tell(number, reply, files, failures, summary)
                if failures == 0:
                    return Repaired(reply=reply, files=files, failures=0)
                self._keep(reply, files, failures, checks)
        return None

    async def _try(self, files: dict[str, str], checks: list[CommandResult]) -> tuple[int | None, str]:
        """How much fails with `files`, None where it cannot be told or they were tried before."""
        if not files:
            return None, "the answer changes nothing"
        mark = frozenset(files.items())
        if mark in self._seen:
            return None, "the same change was tried before"
        self._seen.add(mark)
        failures = 0
        for check in checks:
            result = await self._workspace.trial(check.command, files, timeout_s=_patience(check))
            if result.timed_out:
                return None, f"`{check.command}` did not end"
            if result.exit_code != 0:
                failures += max(1, len(result.failures))
                if not self._partial:
                    return None, _complaint(result)
        return failures, "" if failures == 0 else f"{failures} still fail"

    def _tell(
        self, number: int, reply: Reply, files: dict[str, str], failures: int | None, summary: str
    ) -> None:
        self.tried += 1
        passed = failures == 0
        # The answer that holds is told once more as the assistant's message, with its usage.
        fact = CandidateTried(
            round=number,
            candidate=self.tried,
            passed=passed,
            summary=summary,
            files=sorted(files),
            usage=Usage() if passed else reply.usage,
        )
        self._session.append(fact)
        self._session.signal(
            Progress(phase="candidates", done=self.tried, total=self._attempts, unit="answers")
        )

    def _keep(
        self, reply: Reply, files: dict[str, str], failures: int | None, checks: list[CommandResult]
    ) -> None:
        before = sum(max(1, len(check.failures)) for check in checks if check.exit_code != 0)
        limit = before if self._best is None else self._best.failures
        if self._partial and failures is not None and failures < limit:
            self._best = Repaired(reply=reply, files=files, failures=failures)


def _complaint(result: CommandResult) -> str:
    """What still fails, in a line."""
    if result.failures:
        more = len(result.failures) - 1
        return f"fails {result.failures[0]}" + (f" and {more} more" if more else "")
    last = result.summary.strip().splitlines()
    return f"exit code {result.exit_code}: {last[-1] if last else ''}"


def _patience(check: CommandResult) -> float:
    """Seconds a trial may take: generous against what the command took before, short where that hung."""
    return 20.0 if check.timed_out else 10.0 + 4 * check.duration_s
