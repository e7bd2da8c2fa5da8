"""Asks the model for one reply, with a request that fits its window. Knows no tool and no verification."""

from contextlib import aclosing

from kimi_code.agent.compaction import plan_compaction
from kimi_code.agent.context import Conversation, Window
from kimi_code.agent.ports import Delta, Model, Reply, Request, Retrying, Sampling, Working
from kimi_code.errors import ContextOverflow, Malformed
from kimi_code.events import AssistantDelta, AssistantMessage, Progress, RetryScheduled
from kimi_code.session.session import Session

_OVERFLOWS = 3


class Asker:
    """Keeps the conversation, learns the window, records replies."""

    def __init__(
        self,
        session: Session,
        model: Model,
        *,
        conversation: Conversation,
        window: Window,
        sampling: Sampling,
    ) -> None:
        self._session = session
        self._model = model
        self._conversation = conversation
        self._window = window
        self._sampling = sampling

    async def ask(self) -> Reply:
        """One reply, recorded. Raises ModelFailure; ContextOverflow when nothing more can be dropped."""
        for _ in range(_OVERFLOWS):
            self.fit()
            request, size = self._request(), self._conversation.size
            try:
                reply = await self._stream(request)
            except ContextOverflow as overflow:
                self._window.shrink(overflow.limit)
                continue
            self._window.learn(size, reply.usage)
            self._session.append(
                AssistantMessage(
                    text=reply.text,
                    thinking=reply.thinking,
                    calls=list(reply.calls),
                    usage=reply.usage,
                    finish=reply.finish,
                )
            )
            return reply
        raise ContextOverflow(
            "The server says that the request does not fit its context, however much was left out.",
            hint="Give the server a larger context, or start a new session.",
        )

    def fit(self, *, force: bool = False) -> None:
        """Compact until the request fits; `force` compacts although it does."""
        while force or self._window.tokens(self._conversation.size) > self._window.room:
            fact = plan_compaction(
                self._conversation, self._window, self._session.log.records, self._session.state.todos
            )
            if fact is None:
                break
            self._session.append(fact)
            force = False
        needed = self._window.tokens(self._conversation.size)
        if needed > self._window.room:
            raise ContextOverflow(
                f"About {needed} tokens are needed; the model's context has room for {self._window.room}.",
                hint="Use a model or server with a larger context, or a shorter task.",
                limit=self._window.context,
            )

    def _request(self) -> Request:
        return self._conversation.request(self._sampling)

    async def _stream(self, request: Request) -> Reply:
        async with aclosing(self._model.stream(request)) as chunks:
            async for chunk in chunks:
                match chunk:
                    case Delta(text=text, thinking=thinking):
                        self._session.signal(AssistantDelta(text=text, thinking=thinking))
                    case Working(phase=phase, done=done, total=total):
                        self._session.signal(Progress(phase=phase, done=done, total=total))
                    case Retrying(attempt=attempt, delay_s=delay, error=error):
                        self._session.append(RetryScheduled(attempt=attempt, delay_s=delay, error=error))
                    case Reply():
                        return chunk
        raise Malformed("The model's answer ended before it was complete.", hint="Try again.")
