"""One turn: plan, act, verify. Read `Turn.run` first; everything else in this package serves it.

The loop catches nothing: what fails here ends the turn in engine.py. It knows no screen, no disk and no
model library, only the ports.
"""

from dataclasses import dataclass

from kimi_code.agent.ask import Asker
from kimi_code.agent.breaker import Breaker
from kimi_code.agent.budget import Budget
from kimi_code.agent.calls import Calls
from kimi_code.agent.inbox import Inbox
from kimi_code.agent.ports import Workspace
from kimi_code.agent.repair import Repair, Repaired
from kimi_code.agent.verify import Verification
from kimi_code.events import (
    AssistantMessage,
    Call,
    CheckpointCreated,
    EndReason,
    Evidence,
    UserMessage,
)
from kimi_code.session.session import Session
from kimi_prompts import load

_VERIFY_ROUNDS = 10
_LOOK_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """Why a turn ended, the final words, and what a person should know of the reason."""

    reason: EndReason
    text: str = ""
    detail: str = ""


@dataclass(slots=True, kw_only=True)
class Account:
    """What a turn has done so far; the engine reads it when the turn is cut short, too."""

    checkpoint: str | None = None
    text: str = ""
    evidence: tuple[Evidence, ...] = ()


class Turn:
    """One turn of a session, from a person's message to its ending."""

    def __init__(
        self,
        session: Session,
        workspace: Workspace,
        *,
        asker: Asker,
        calls: Calls,
        verification: Verification,
        repair: Repair | None,
        inbox: Inbox,
        budget: Budget,
    ) -> None:
        self._session = session
        self._workspace = workspace
        self._asker = asker
        self._calls = calls
        self._verification = verification
        self._repair = repair
        self._inbox = inbox
        self._budget = budget
        self._breaker = Breaker()
        self._verify_rounds = 0
        self._verified_effects = 0
        self.account = Account()

    async def run(self, task: str) -> Ending:
        """`task` is already in the log. Returns when verified, given up, or at the end of a budget."""
        if self._repair is not None and (ending := await self._try_repair(self._repair, task)):
            return ending
        while True:
            self._take_steering()
            if spent := self._budget.spent():
                return self._end(*spent)
            reply = await self._asker.ask()
            self._budget.spend(reply.usage)
            self.account.text = reply.text or self.account.text
            if reply.calls:
                if circle := await self._act(reply.calls):
                    return self._end("loop", circle)
            elif reply.finish == "length":
                self._tell(load("loop/cut"))
            elif ending := await self._verify():
                return ending

    async def checkpoint(self) -> None:
        """Record the workspace before the first effect of this turn."""
        if self.account.checkpoint is None:
            self.account.checkpoint, files = await self._workspace.checkpoint()
            self._session.append(CheckpointCreated(id=self.account.checkpoint, files=files))

    async def _act(self, calls: tuple[Call, ...]) -> str | None:
        for call in calls:
            finished = await self._calls.run(call)
            self._breaker.note(call, finished.content)
            if circle := self._breaker.circle():
                return circle
        if (count := self._breaker.repeats()) > 2:
            self._tell(load("loop/circle", count=str(count)))
        return None

    async def _verify(self) -> Ending | None:
        """The model says that it is done: is it? None sends it back to work."""
        checkpoint = self.account.checkpoint
        if checkpoint is None or not await self._workspace.changed(checkpoint):
            return self._end("done")
        untouched = self._verify_rounds > 0 and self._calls.tally.effects == self._verified_effects
        self._verified_effects = self._calls.tally.effects
        verdict = await self._verification.judge(checkpoint)
        self._verify_rounds += 1
        self.account.evidence = verdict.evidence
        if verdict.passed:
            return self._end("done")
        if spent := self._budget.spent():
            return self._end(*spent)
        if untouched or self._verify_rounds >= _VERIFY_ROUNDS:
            return self._end("failed", "verification still fails:\n" + verdict.feedback())
        self._tell(load("loop/unverified", feedback=verdict.feedback()), origin_verify=True)
        return None

    async def _try_repair(self, repair: Repair, task: str) -> Ending | None:
        """Small models first: None where nothing fails yet, or no answer held."""
        checks = await self._verification.look(_LOOK_SECONDS)
        if all(check.exit_code == 0 for check in checks):
            return None
        found = await repair.run(task, checks, self._budget)
        if isinstance(found, str):
            return self._end(found, f"{repair.tried} answers were tried, none of them holds")
        if found is None:
            if repair.tried == 0:
                return None
            if spent := self._budget.spent():
                return self._end(*spent)
            return self._end("failed", f"{repair.tried} answers were tried, none passes the verification")
        if not await self._apply(found, repair.tried):
            return self._end("failed", "an answer verifies, but it could not be written")
        return await self._verify()

    async def _apply(self, found: Repaired, tried: int) -> bool:
        """Put an answer that holds into the workspace, by calls like any other; False where one failed."""
        calls: list[Call] = []
        for path, text in found.files.items():
            name = f"repair.{tried}.{len(calls)}"
            calls.append(Call(id=f"{name}.read", name="Read", arguments={"path": path}))
            write = {"path": path, "content": text, "mode": "overwrite"}
            calls.append(Call(id=f"{name}.write", name="Write", arguments=write))
        reply = found.reply
        self._session.append(
            AssistantMessage(text=reply.text, thinking=reply.thinking, calls=calls, usage=reply.usage)
        )
        finished = [await self._calls.run(call) for call in calls]
        names = ", ".join(found.files)
        self.account.text = f"Repaired {names}: answer {tried} is the first of those tried that verifies."
        return all(call.status == "ok" for call in finished)

    def _take_steering(self) -> None:
        while said := self._inbox.take():
            self._session.append(UserMessage(text=said.text, attachments=said.attachments))

    def _tell(self, text: str, *, origin_verify: bool = False) -> None:
        self._session.append(UserMessage(text=text, origin="verify" if origin_verify else "loop"))

    def _end(self, reason: EndReason, detail: str = "") -> Ending:
        return Ending(reason=reason, text=self.account.text, detail=detail)
