"""What the model is shown: a projection of the log, kept inside the window. Knows no model and no disk."""

import msgspec

from kimi_code.agent.ports import Message, Request, Sampling, ToolSpec
from kimi_code.events import (
    AssistantMessage,
    CallFinished,
    CompactionFinished,
    PromptStored,
    Usage,
    UserMessage,
)
from kimi_code.session.codec import Record

_MESSAGE_OVERHEAD = 24  # bytes a chat template adds around a message, as a rule
_FIRST_RATIO = 3.0  # bytes a token, before a server has told: low, so that the estimate errs upwards


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _message_size(message: Message) -> int:
    size = _MESSAGE_OVERHEAD + _size(message.text) + _size(message.thinking)
    for call in message.calls:
        size += _MESSAGE_OVERHEAD + len(call.name) + len(msgspec.json.encode(call.arguments))
    return size


class Conversation:
    """Folds records into messages; each record costs the same, however long the session is."""

    def __init__(self) -> None:
        self._system = ""
        self._tools: tuple[ToolSpec, ...] = ()
        self._base_size = 0
        self._opening: list[Message] = []
        self._entries: list[tuple[int, Message, int]] = []
        self.size = 0

    def apply(self, record: Record) -> None:
        match record.event:
            case PromptStored(system=system, tools=tools, context=context):
                self._store(system, tools, context)
            case UserMessage(text=text, attachments=attachments):
                images = tuple(a.path for a in attachments if a.kind == "image")
                self._add(record.seq, Message(role="user", text=text, images=images))
            case AssistantMessage(text=text, thinking=thinking, calls=calls):
                message = Message(role="assistant", text=text, thinking=thinking, calls=tuple(calls))
                self._add(record.seq, message)
            case CallFinished(id=call_id, name=name, content=content):
                self._add(record.seq, Message(role="tool", text=content, call_id=call_id, name=name))
            case CompactionFinished(kept_from=kept_from, summary=summary):
                self._compact(kept_from, summary)
            case _:
                pass

    def request(self, sampling: Sampling) -> Request:
        messages = (*self._opening, *(message for _, message, _ in self._entries))
        return Request(system=self._system, tools=self._tools, messages=messages, sampling=sampling)

    @property
    def entries(self) -> list[tuple[int, Message, int]]:
        """(seq, message, size in bytes) of what compaction may drop, oldest first."""
        return self._entries

    @property
    def base_size(self) -> int:
        """Bytes that no compaction can free: the system prompt and the tools."""
        return self._base_size

    def _store(self, system: str, tools: list[dict[str, object]], context: str) -> None:
        self.size -= self._base_size
        self._system = system
        self._tools = tuple(msgspec.convert(tool, ToolSpec) for tool in tools)
        self._opening = [Message(role="user", text=context)] if context else []
        self._base_size = _size(system) + len(msgspec.json.encode(tools))
        self._base_size += sum(map(_message_size, self._opening))
        self.size += self._base_size

    def _add(self, seq: int, message: Message) -> None:
        size = _message_size(message)
        self._entries.append((seq, message, size))
        self.size += size

    def _compact(self, kept_from: int, summary: str) -> None:
        kept = [entry for entry in self._entries if entry[0] >= kept_from]
        self._entries = []
        self.size = self._base_size
        self._add(-1, Message(role="user", text=summary))
        for seq, message, _ in kept:
            self._add(seq, message)


class Window:
    """Tokens from bytes: the model's context, and a ratio learned from what its server counted."""

    def __init__(self, context: int) -> None:
        self.context = context
        self._ratio = _FIRST_RATIO

    @property
    def reply_tokens(self) -> int:
        """What is kept free for the answer."""
        return max(256, min(8192, self.context // 4))

    @property
    def room(self) -> int:
        """Tokens that a request may have."""
        return self.context - self.reply_tokens

    def tokens(self, size: int) -> int:
        return int(size / self._ratio) + 1

    def bytes(self, tokens: int) -> int:
        return int(tokens * self._ratio)

    def learn(self, size: int, usage: Usage) -> None:
        """`size` bytes were counted as usage.prompt tokens. Kept low by 5 %, so as not to overflow."""
        if usage.prompt > 0 and size > 2000:
            self._ratio = min(4.0, max(1.0, 0.95 * size / usage.prompt))

    def shrink(self, limit: int | None) -> None:
        """A server said that the request was too long: believe it, or assume a fifth less."""
        self.context = limit if limit is not None and limit < self.context else self.context * 4 // 5
