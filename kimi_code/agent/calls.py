"""Runs calls: validate, judge, ask where it must be asked, record intent, act, record outcome.

Knows no tool: it sees calls, their resolved intents and their results.
"""

import itertools
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from kimi_code.agent.inbox import Inbox
from kimi_code.agent.ports import BadCall, Gate, Intent, Ruling, Toolbox, ToolResult
from kimi_code.events import (
    ApprovalRequested,
    ApprovalResolved,
    Call,
    CallFinished,
    CallOutput,
    CallRequested,
    CallStarted,
    CallStatus,
    Decision,
    PlanUpdated,
)
from kimi_code.session.session import Session
from kimi_prompts import load


@dataclass(slots=True, kw_only=True)
class Tally:
    """What the calls of a turn came to."""

    calls: int = 0
    denied: int = 0
    effects: int = 0


class Calls:
    """`before_effect` is awaited once before each call that can change something (checkpoints)."""

    def __init__(
        self,
        session: Session,
        toolbox: Toolbox,
        gate: Gate,
        inbox: Inbox,
        *,
        interactive: bool,
        before_effect: Callable[[], Awaitable[None]],
        content_limit: int,
    ) -> None:
        self._session = session
        self._toolbox = toolbox
        self._gate = gate
        self._inbox = inbox
        self._interactive = interactive
        self._before_effect = before_effect
        self._content_limit = content_limit
        self._numbers = itertools.count(1)
        self.tally = Tally()

    async def run(self, call: Call) -> CallFinished:
        """Exactly one CallFinished is written, here or, if this is cancelled, when the turn is closed."""
        self._session.append(CallRequested(id=call.id, name=call.name, arguments=call.arguments))
        self.tally.calls += 1
        try:
            intent = self._toolbox.intent(call)
        except BadCall as bad:
            status: CallStatus = "denied" if bad.denied else "error"
            self.tally.denied += bad.denied
            return self._finish(call, ToolResult(status=status, content=str(bad)), 0.0)
        ruling = self._gate.judge(call, intent)
        if ruling.decision == "deny" or (
            ruling.decision == "ask" and await self._ask(call, intent, ruling) == "deny"
        ):
            self.tally.denied += 1
            content = load("loop/denied", why=ruling.why)
            return self._finish(call, ToolResult(status="denied", content=content), 0.0)
        return await self._act(call, intent)

    async def _act(self, call: Call, intent: Intent) -> CallFinished:
        effect = intent.effect in ("write", "execute")
        if effect:
            self.tally.effects += 1
            await self._before_effect()
        self._session.append(CallStarted(id=call.id, name=call.name, target=intent.target, effect=effect))
        if effect:
            self._session.sync()
        began = time.monotonic()

        def output(chunk: str) -> None:
            self._session.signal(CallOutput(id=call.id, chunk=chunk))

        result = await self._toolbox.run(call, output)
        return self._finish(call, result, time.monotonic() - began)

    async def _ask(self, call: Call, intent: Intent, ruling: Ruling) -> Decision:
        approval = f"{call.id}.a{next(self._numbers)}"
        self._session.append(ApprovalRequested(id=approval, call=call.id, what=intent.target, why=ruling.why))
        decision: Decision
        if (preset := self._gate.preset(call, intent)) is not None:
            decision, by = preset, "approvals"
        elif self._interactive:
            decision, by = await self._inbox.wait_for_answer(approval)
        else:
            decision, by = "deny", "nobody"
        self._session.append(ApprovalResolved(id=approval, call=call.id, decision=decision, by=by))
        if decision == "session":
            self._gate.remember(call, intent)
        return decision

    def _finish(self, call: Call, result: ToolResult, seconds: float) -> CallFinished:
        fact = CallFinished(
            id=call.id,
            name=call.name,
            status=result.status,
            content=clip(result.content, self._content_limit),
            details=result.details,
            duration_s=round(seconds, 4),
        )
        self._session.append(fact)
        if result.todos is not None:
            self._session.append(PlanUpdated(todos=list(result.todos)))
        return fact


def clip(text: str, limit: int) -> str:
    """`text` cut in the middle to about `limit` characters, with a note of how much is missing."""
    if len(text) <= limit:
        return text
    head, tail = limit * 2 // 3, limit // 3
    missing = len(text) - head - tail
    return f"{text[:head]}\n[... {missing} characters left out to fit the window ...]\n{text[-tail:]}"
