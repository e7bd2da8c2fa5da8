"""The engine: takes commands, runs turns, and is the one place where a failed turn becomes an ending.

    face --command--> Engine.submit -> Inbox -> Turn.run --append--> session log --> every reader

Knows no face: whoever listens to the session's log sees the same facts.
"""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass

from kimi_code.agent.ask import Asker
from kimi_code.agent.budget import Budget, Limits
from kimi_code.agent.calls import Calls
from kimi_code.agent.context import Conversation, Window
from kimi_code.agent.inbox import Inbox
from kimi_code.agent.loop import Ending, Turn
from kimi_code.agent.ports import Gate, Model, ModelInfo, Sampling, Toolbox, Workspace
from kimi_code.agent.repair import Repair, Wording
from kimi_code.agent.result import result_of, settle
from kimi_code.agent.verify import Verification
from kimi_code.commands import Answer, Command, Interrupt, Say, Stop
from kimi_code.errors import Interrupted, KimiError
from kimi_code.events import ErrorRaised, TurnEnded, TurnStarted, UserMessage
from kimi_code.session.session import Session

_CONTENT_SHARE = 4  # a tool result may fill a quarter of the window
_CONTENT_MOST = 32_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How turns are run.

    verify: commands a person gave; empty: what is found in the repository, unless `detect` is off.
    attempts: answers to try per repair, or a function of the model that says how many.
    interactive: whether somebody is there to answer approvals.
    """

    limits: Limits
    sampling: Sampling
    verify: tuple[str, ...] = ()
    detect: bool = True
    verify_timeout_s: float = 600.0
    attempts: Callable[[ModelInfo], int]
    repair_system: str
    repair_wordings: tuple[Wording, ...]
    interactive: bool = False


class Engine:
    """One agent: a session and the ports it works through."""

    def __init__(
        self,
        session: Session,
        *,
        model: Model,
        toolbox: Toolbox,
        workspace: Workspace,
        gate: Gate,
        options: Options,
    ) -> None:
        self.session = session
        self._model = model
        self._toolbox = toolbox
        self._workspace = workspace
        self._gate = gate
        self._options = options
        self._inbox = Inbox()
        self._queue: asyncio.Queue[Say | Stop] = asyncio.Queue()
        self._running: asyncio.Task[Ending] | None = None
        self._conversation = Conversation()
        self._window: Window | None = None
        for record in session.log.records:
            self._conversation.apply(record)
        session.log.listen(self._conversation.apply)

    def submit(self, command: Command) -> None:
        """Take a command; returns at once."""
        match command:
            case Say() if self._running is not None:
                self._inbox.say(command)
            case Say() | Stop():
                self._queue.put_nowait(command)
            case Answer(approval=approval, decision=decision, by=by):
                self._inbox.answer(approval, decision, by)
            case Interrupt():
                if self._running is not None:
                    self._running.cancel()
            case _:
                raise TypeError(f"no such command: {command!r}")

    async def run(self) -> None:
        """Run turns as they are asked for, until Stop."""
        try:
            while isinstance(command := await self._queue.get(), Say):
                await self._turn(command)
        finally:
            await self._model.close()

    async def _turn(self, said: Say) -> None:
        budget = Budget(self._options.limits)
        self.session.append(TurnStarted(turn=self.session.state.turn + 1))
        self.session.append(UserMessage(text=said.text, attachments=said.attachments))
        shift = _Shift(budget)
        self._running = asyncio.create_task(self._work(said.text, shift))
        error: KimiError | None = None
        deadline = asyncio.timeout(budget.limits.seconds)
        try:
            async with deadline:
                ending = await self._running
        except TimeoutError:
            if not deadline.expired():
                raise
            ending = Ending(reason="time_limit", detail=f"{budget.limits.seconds:g} s are over")
        except asyncio.CancelledError:
            error = Interrupted("Interrupted.", hint="Go on with `kimi-code run --continue`.")
            ending = Ending(reason="interrupted")
        except KimiError as failure:
            error = failure
            ending = Ending(reason="error", detail=failure.message)
        finally:
            self._running = None
        await self._close(ending, error, shift)

    async def _work(self, task: str, shift: "_Shift") -> Ending:
        info = await self._model.open()
        shift.turn = self._prepare(task, info, shift)
        return await shift.turn.run(task)

    def _prepare(self, task: str, info: ModelInfo, shift: "_Shift") -> Turn:
        options = self._options
        if self._window is None:
            self._window = Window(info.context)
        commands = options.verify
        if not commands and options.detect:
            commands = self._workspace.detect_checks()
        verification = Verification(
            self.session,
            self._workspace,
            commands,
            detected=not options.verify,
            timeout_s=options.verify_timeout_s,
        )
        attempts = options.attempts(info)
        worth_a_look = bool(options.verify) or speaks_of_failure(task)
        repair = None
        if attempts > 1 and commands and worth_a_look:
            repair = Repair(
                self.session,
                self._model,
                self._workspace,
                system=options.repair_system,
                wordings=options.repair_wordings,
                attempts=attempts,
                partial=not options.verify,
            )
        shift.calls = Calls(
            self.session,
            self._toolbox,
            self._gate,
            self._inbox,
            interactive=options.interactive,
            before_effect=lambda: turn.checkpoint(),
            content_limit=min(_CONTENT_MOST, self._window.bytes(info.context // _CONTENT_SHARE)),
        )
        turn = Turn(
            self.session,
            self._workspace,
            asker=Asker(
                self.session,
                self._model,
                conversation=self._conversation,
                window=self._window,
                sampling=options.sampling,
            ),
            calls=shift.calls,
            verification=verification,
            repair=repair,
            inbox=self._inbox,
            budget=shift.budget,
        )
        return turn

    async def _close(self, ending: Ending, error: KimiError | None, shift: "_Shift") -> None:
        """Every call gets its outcome, then the turn its end, then the result; all of it on disk."""
        account = shift.turn.account if shift.turn is not None else None
        evidence = account.evidence if account is not None else ()
        tally = shift.calls.tally if shift.calls is not None else None
        ending = settle(ending, evidence, tally.denied if tally is not None else 0)
        self.session.close_calls()
        if error is not None:
            self.session.append(ErrorRaised(code=error.code, message=error.message, hint=error.hint))
        changed: tuple[str, ...] = ()
        if account is not None and account.checkpoint is not None:
            changed = await self._workspace.changed(account.checkpoint)
        if not ending.text and account is not None:
            ending = Ending(reason=ending.reason, text=account.text, detail=ending.detail)
        self.session.append(
            TurnEnded(turn=self.session.state.turn, reason=ending.reason, detail=ending.detail)
        )
        self.session.append(
            result_of(
                ending,
                error,
                session_id=self.session.id,
                budget=shift.budget,
                calls=tally.calls if tally is not None else 0,
                evidence=evidence,
                files_changed=changed,
            )
        )
        self.session.sync()


class _Shift:
    """What is known of the turn that runs, so that it can be closed wherever it stopped."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.turn: Turn | None = None
        self.calls: Calls | None = None


_FAILURE_WORDS = re.compile(
    r"\b(fix\w*|bugs?|fail\w*|broken|repair|mend|debug|errors?|wrong|crash\w*|incorrect|tests?)\b",
    re.IGNORECASE,
)


def speaks_of_failure(task: str) -> bool:
    """Whether a task is about something that does not work, so that the tests are worth running first."""
    return _FAILURE_WORDS.search(task) is not None
