"""How an answer is delivered, and what goes wrong on the way. Knows the bytes, not what they say."""

from kimi_testing.connection import Answer, Part, chunk, head
from kimi_testing.script import Fault

_EVENT_STREAM = {"content-type": "text/event-stream; charset=utf-8", "transfer-encoding": "chunked"}
_DONE = b"[DONE]"
_DRIP_BYTES = 7


def plain_answer(
    status: int,
    body: bytes,
    *,
    content_type: str = "application/json",
    retry_after: str = "",
    delay_s: float = 0.0,
) -> Answer:
    """One body with its length."""
    fields = {"content-type": content_type, "content-length": str(len(body))}
    if retry_after:
        fields["retry-after"] = retry_after
    return Answer(parts=[Part(data=head(status, fields) + body, wait_s=delay_s)])


def stream_answer(events: list[bytes], fault: Fault | None, *, delay_s: float = 0.0) -> Answer:
    """Server-sent events, chunked, then [DONE]; with at most one fault."""
    start = Part(data=head(200, _EVENT_STREAM), wait_s=delay_s)
    if fault is None:
        body = b"".join([*map(_event, events), _event(_DONE)])
        return Answer(parts=[_with(start, chunk(body) + chunk(b""))])
    return Answer(parts=_faulty(start, [*events, _DONE], fault))


def _with(part: Part, more: bytes) -> Part:
    return Part(data=part.data + more, wait_s=part.wait_s, end=part.end)


def _event(data: bytes) -> bytes:
    return b"data: %b\n\n" % data


def _faulty(start: Part, events: list[bytes], fault: Fault) -> list[Part]:
    before = [Part(data=chunk(_event(event))) for event in events[: fault.after]]
    rest = [Part(data=chunk(_event(event))) for event in events[fault.after :]]
    last = Part(data=chunk(b""))
    match fault.kind:
        case "drop":
            return [Part(end="reset")]
        case "close":
            return [start, Part(end="close")]
        case "reset":
            return [start, *before, Part(end="reset")]
        case "cut":
            return [start, *before, last]
        case "silence" if fault.after == 0:
            return [Part(wait_s=fault.seconds), start, *rest, last]
        case "silence" | "bad_json" | "error_event":
            return [start, *before, _between(fault), *rest, last]
        case "stale":
            return [start, Part(data=_joined(events)), last, Part(wait_s=fault.seconds, end="close")]
        case _:
            return [start, *_disguised(events, fault), last]


def _between(fault: Fault) -> Part:
    match fault.kind:
        case "silence":
            return Part(wait_s=fault.seconds)
        case "bad_json":
            return Part(data=chunk(b'data: {"choices": [{"delta": {"conte\n\n'))
        case _:
            message = (fault.body or "it broke").encode()
            return Part(data=chunk(_event(b'{"error":{"message":"%b","code":%d}}' % (message, fault.status))))


def _joined(events: list[bytes]) -> bytes:
    return chunk(b"".join(map(_event, events)))


def _disguised(events: list[bytes], fault: Fault) -> list[Part]:
    """The same events in other bytes: all of it is legal, if unkind."""
    body = b"".join(map(_event, events))
    match fault.kind:
        case "no_done":
            return [Part(data=_joined(events[:-1]))]
        case "no_finish":
            return [Part(data=_joined([event for event in events if b'"finish_reason":"' not in event]))]
        case "crlf":
            body = body.replace(b"\n", b"\r\n")
        case "cr":
            body = body.replace(b"\n", b"\r")
        case "bom":
            body = b"\xef\xbb\xbf" + body
        case "comments":
            noise = b": keep-alive\n\nevent: message\nid: 7\nretry: 3\n"
            body = b"".join(noise + _event(event) for event in events)
        case "split":
            return [Part(data=b"".join(chunk(body[at : at + 1]) for at in range(len(body))))]
        case "drip":
            slices = range(0, len(body), _DRIP_BYTES)
            return [Part(data=chunk(body[at : at + _DRIP_BYTES]), wait_s=fault.seconds) for at in slices]
        case _:
            pass
    return [Part(data=chunk(body))]
