"""Makes room in the window without asking a model: the goal, the plan and the rules stay word for word.

What is dropped stays in the log; the summary is rebuilt from the log each time, so that a second
compaction loses nothing that the first one kept.
"""

from collections.abc import Sequence

import msgspec

from kimi_code.agent.context import Conversation, Window
from kimi_code.events import AssistantMessage, Call, CallFinished, CompactionFinished, Todo, UserMessage
from kimi_code.session.codec import Record

_KEEP_SHARE = 0.5  # of the room, for the newest messages
_WORDS_SHARE = 0.15  # of the room, for what the person said
_CALLS_LISTED = 40
_MARKS = {"done": "[x]", "in_progress": "[>]", "pending": "[ ]"}


def plan_compaction(
    conversation: Conversation, window: Window, records: Sequence[Record], todos: Sequence[Todo]
) -> CompactionFinished | None:
    """The fact that makes room, None where nothing can be freed."""
    before = conversation.size
    cut = _cut(conversation, window.bytes(int(window.room * _KEEP_SHARE)) - conversation.base_size)
    if cut is None:
        return None
    kept_from, kept_size = cut
    summary = _summary(records, kept_from, todos, window)
    freed = before - conversation.base_size - kept_size - len(summary)
    if freed <= 0:
        return None
    return CompactionFinished(
        kept_from=kept_from,
        summary=summary,
        summary_tokens=window.tokens(len(summary)),
        freed_tokens=window.tokens(freed),
    )


def _cut(conversation: Conversation, budget: int) -> tuple[int, int] | None:
    """Where the kept part begins (its seq), and its size; a call is never parted from its result."""
    entries = conversation.entries
    size, best = 0, None
    for index in range(len(entries) - 1, 0, -1):
        seq, message, entry_size = entries[index]
        size += entry_size
        if size > budget and best is not None:
            break
        if message.role != "tool":
            best = (seq, size)
            if size > budget:
                break
    return best


def _summary(records: Sequence[Record], kept_from: int, todos: Sequence[Todo], window: Window) -> str:
    older = [record.event for record in records if record.seq < kept_from]
    parts = ["The beginning of this conversation was cut to fit the window. What it held:"]
    said = [e.text for e in older if isinstance(e, UserMessage) and e.origin == "person"]
    if said:
        parts.append(
            "The person's own words:\n" + _bounded(said, window.bytes(int(window.room * _WORDS_SHARE)))
        )
    if todos:
        parts.append("The plan:\n" + "\n".join(f"{_MARKS[t.status]} {t.title}" for t in todos))
    calls = {call.id: call for e in older if isinstance(e, AssistantMessage) for call in e.calls}
    done = [_line(calls[e.id], e) for e in older if isinstance(e, CallFinished) and e.id in calls]
    if done:
        left_out = len(done) - _CALLS_LISTED
        head = (
            f"Calls made so far ({left_out} earlier ones not listed):"
            if left_out > 0
            else "Calls made so far:"
        )
        parts.append(head + "\n" + "\n".join(done[-_CALLS_LISTED:]))
    texts = [e.text for e in older if isinstance(e, AssistantMessage) and e.text.strip()]
    if texts:
        parts.append("Your last words before the cut:\n" + texts[-1][-1000:])
    return "\n\n".join(parts)


def _bounded(texts: list[str], limit: int) -> str:
    """All texts where they fit, else the first (the goal) and the newest ones, each said to be cut."""
    first, rest = texts[0], texts[1:]
    if len(first) > limit:
        return first[:limit] + " [cut]"
    kept: list[str] = []
    room = limit - len(first)
    for text in reversed(rest):
        if len(text) > room:
            kept.append("[some messages left out]")
            break
        kept.append(text)
        room -= len(text)
    return "\n".join([first, *reversed(kept)])


def _line(call: Call, finished: CallFinished) -> str:
    arguments = msgspec.json.encode(call.arguments).decode()
    outcome = finished.content.strip().splitlines()
    return f"- {call.name} {arguments[:120]} -> {finished.status}: {outcome[0][:100] if outcome else ''}"
