"""What a scripted model says, request after request. Knows the form of a script, no wire and no agent.

A script is JSON:

    {"replies": [
        {"text": "Looking.", "calls": [{"name": "Read", "arguments": {"path": "a.py"}}]},
        {"repeat": 100, "call": {"name": "Bash", "arguments": {"command": "echo {i}"}}},
        {"fault": {"kind": "status", "status": 429, "retry_after": "1"}},
        {"text": "Done."}
     ],
     "then": "repeat_last"}

Each request takes the next reply; `{i}` in the strings of a repeated call is its number. A reply whose fault
answers nothing (a status, a refusal) uses up the entry: the retry gets the next one.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

FaultKind = Literal[
    "status",  # an HTTP error: status, retry_after, body
    "context",  # 400, the prompt does not fit: limit, wording
    "html",  # 200 with a web page
    "drop",  # the connection is reset before any answer
    "close",  # headers, then the connection ends
    "reset",  # reset after `after` events
    "cut",  # a clean end after `after` events: no finish_reason, no [DONE]
    "no_done",  # all but [DONE]
    "no_finish",  # [DONE], but no finish_reason
    "stale",  # a whole answer, then the kept-alive connection is closed unannounced
    "silence",  # `seconds` of nothing after `after` events (0: before the headers)
    "bad_json",  # an event that is not JSON after `after` events
    "error_event",  # an error object inside the stream after `after` events
    "drip",  # a few bytes at a time, `seconds` apart
    "crlf",  # CRLF line ends
    "cr",  # CR line ends
    "comments",  # keep-alive comments and unknown fields between events
    "bom",  # a byte order mark first
    "huge",  # the whole answer in one event of `size` bytes or more
    "split",  # events torn at every byte across chunks of the transfer encoding
]
Wording = Literal["vllm", "llama", "moonshot", "sglang", "openai"]
WrittenAs = Literal["tool_call", "fenced", "kimi", "function", "bare"]


class ScriptedCall(msgspec.Struct, frozen=True, kw_only=True):
    """`arguments` as text is sent as it is: truncated or nearly JSON. An empty id is numbered."""

    name: str
    arguments: dict[str, Any] | str = {}
    id: str = ""


class ScriptedUsage(msgspec.Struct, frozen=True, kw_only=True):
    prompt: int = 0
    cached: int = 0
    completion: int = 0
    thinking: int = 0


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """Something that goes wrong with one answer. `after` counts events of the stream."""

    kind: FaultKind
    after: int = 1
    seconds: float = 0.0
    status: int = 500
    retry_after: str = ""
    body: str = ""
    limit: int = 4096
    wording: Wording = "vllm"
    size: int = 1 << 20


class ScriptedReply(msgspec.Struct, frozen=True, kw_only=True):
    """One answer. `pieces` is how many characters a delta holds; `progress` are (done, total) before it.

    written_as: the calls are written into the text, as models without native calls do.
    choices: the answers to a request with n > 1; fewer than n are repeated in order.
    """

    text: str = ""
    thinking: str = ""
    calls: list[ScriptedCall] = []
    call: ScriptedCall | None = None
    usage: ScriptedUsage | None = None
    finish: str = ""
    delay_s: float = 0.0
    pieces: int = 24
    progress: list[tuple[int, int]] = []
    written_as: WrittenAs | None = None
    fault: Fault | None = None
    choices: list["ScriptedReply"] = []
    repeat: int = 1

    @property
    def all_calls(self) -> list[ScriptedCall]:
        return [self.call, *self.calls] if self.call is not None else self.calls


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """Answers any request whose last message holds `contains`, before the replies are looked at."""

    contains: str
    reply: ScriptedReply


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """`index`: take the next reply per request, or the one for the length of the conversation so far
    (as many agents at once, each playing the whole script). `then`: what comes after the last reply.
    `faults` befall the first requests, one each (None: nothing), and use up no reply.
    """

    replies: list[ScriptedReply] = []
    rules: list[Rule] = []
    faults: list[Fault | None] = []
    then: Literal["repeat_last", "done", "fail"] = "done"
    index: Literal["request", "conversation"] = "request"
    obedient: bool = False
    model: str = "scripted"
    context: int = 32768
    spelling: Literal["vllm", "llama", "moonshot", "none"] = "vllm"

    @property
    def looks(self) -> bool:
        """Whether the answer depends on what the request says."""
        return bool(self.rules) or self.obedient or self.index == "conversation"


SILENT_FAULTS = frozenset({"status", "context", "html", "drop"})
OBEY = ("<<RUN>>", "<</RUN>>")
"""What an obedient model looks for: a tool call as JSON between these marks."""

_DONE = ScriptedReply(text="Done.")
_FAIL = ScriptedReply(fault=Fault(kind="status", status=400, body="the script has ended"))


def load_script(path: Path) -> Script:
    """Raises OSError, msgspec.ValidationError or msgspec.DecodeError (not JSON, not a script)."""
    return msgspec.json.decode(path.read_bytes(), type=Script)


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """What of a request decides the answer: its last user or tool text, and how many answers came before."""

    last_text: str
    answers: int


class Player:
    """Plays one script: `next(scene)` is the reply to the next request."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._faults = iter(script.faults)
        self._replies = _spread(script.replies)
        self._played: list[ScriptedReply] = []
        self._obeyed: set[str] = set()
        self.requests = 0

    def next(self, scene: Scene) -> ScriptedReply:
        self.requests += 1
        fault = next(self._faults, None)
        if fault is not None and fault.kind in SILENT_FAULTS:
            return ScriptedReply(fault=fault)
        reply = self._choose(scene)
        return reply if fault is None else msgspec.structs.replace(reply, fault=fault)

    def _choose(self, scene: Scene) -> ScriptedReply:
        for rule in self._script.rules:
            if rule.contains in scene.last_text:
                return rule.reply
        if self._script.obedient:
            return self._obey(scene.last_text)
        if self._script.index == "conversation":
            return self._at(scene.answers)
        reply = next(self._replies, None)
        if reply is None:
            return self._after_last()
        self._played[:] = [reply]
        return reply

    def _at(self, position: int) -> ScriptedReply:
        while len(self._played) <= position:
            reply = next(self._replies, None)
            if reply is None:
                return self._after_last()
            self._played.append(reply)
        return self._played[position]

    def _after_last(self) -> ScriptedReply:
        if self._script.then == "repeat_last" and self._played:
            return self._played[-1]
        return _FAIL if self._script.then == "fail" else _DONE

    def _obey(self, text: str) -> ScriptedReply:
        calls: list[ScriptedCall] = []
        for order in _marked(text):
            if order not in self._obeyed:
                self._obeyed.add(order)
                calls.append(msgspec.json.decode(order, type=ScriptedCall))
        return ScriptedReply(calls=calls) if calls else _DONE


def _marked(text: str) -> Iterator[str]:
    for part in text.split(OBEY[0])[1:]:
        if OBEY[1] in part:
            yield part.split(OBEY[1])[0].strip()


def _spread(replies: list[ScriptedReply]) -> Iterator[ScriptedReply]:
    for reply in replies:
        if reply.repeat == 1:
            yield reply
            continue
        for number in range(1, reply.repeat + 1):
            calls = [_numbered(call, str(number)) for call in reply.all_calls]
            yield msgspec.structs.replace(reply, repeat=1, call=None, calls=calls)


def _numbered(call: ScriptedCall, number: str) -> ScriptedCall:
    return msgspec.structs.replace(
        call, arguments=_filled(call.arguments, lambda s: s.replace("{i}", number))
    )


def _filled(value: Any, fill: Callable[[str], str]) -> Any:
    match value:
        case str():
            return fill(value)
        case list():
            return [_filled(item, fill) for item in value]  # pyright: ignore[reportUnknownVariableType]
        case Mapping():
            return {key: _filled(item, fill) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType]
        case _:
            return value


def written_text(text: str, calls: list[ScriptedCall], form: WrittenAs) -> str:
    """`text` followed by the calls as models write them that have no native calls."""
    bodies: list[str] = []
    for number, call in enumerate(calls):
        arguments = call.arguments
        raw = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
        as_object = f'{{"name": "{call.name}", "arguments": {raw}}}'
        match form:
            case "tool_call":
                bodies.append(f"<tool_call>\n{as_object}\n</tool_call>")
            case "fenced":
                bodies.append(f"```json\n{as_object}\n```")
            case "bare":
                bodies.append(as_object)
            case "kimi":
                mark = f"functions.{call.name}:{number}"
                bodies.append(f"<|tool_call_begin|>{mark}<|tool_call_argument_begin|>{raw}<|tool_call_end|>")
            case "function":
                pairs = arguments.items() if isinstance(arguments, dict) else ()
                lines = [f"<parameter={key}>\n{value}\n</parameter>" for key, value in pairs]
                bodies.append("\n".join([f"<function={call.name}>", *lines, "</function>"]))
    if form == "kimi":
        bodies = ["<|tool_calls_section_begin|>" + "".join(bodies) + "<|tool_calls_section_end|>"]
    return "\n".join([text, *bodies] if text else bodies)
