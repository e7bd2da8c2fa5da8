"""A scripted server for the Responses API, just enough of it for codex to be measured. Loopback only.

    python -m benchmarks.responses --script FILE.json [--record FILE]

Plays the same scripts as kimi_testing.server (text and calls, no faults) and prints its base URL first.
"""

import argparse
import asyncio
import signal
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from kimi_testing.connection import Answer, Part, chunk, head, serve_connection
from kimi_testing.script import Player, Scene, ScriptedReply, load_script

_STREAM = {"content-type": "text/event-stream", "transfer-encoding": "chunked"}


def _event(kind: str, **fields: Any) -> bytes:
    data = msgspec.json.encode({"type": kind, **fields})
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)


def _items(reply: ScriptedReply, number: int) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    if reply.text:
        content = [{"type": "output_text", "text": reply.text}]
        items.append({"type": "message", "id": f"m{number}", "role": "assistant", "content": content})
    for index, call in enumerate(reply.all_calls):
        name = f"call_{number}_{index}"
        arguments = msgspec.json.encode(call.arguments).decode()
        items.append(
            {"type": "function_call", "id": name, "call_id": name, "name": call.name, "arguments": arguments}
        )
    return items


def stream(reply: ScriptedReply, number: int, prompt_bytes: int) -> bytes:
    """The events of one answer."""
    identity: dict[str, Any] = {"id": f"r{number}", "object": "response", "output": []}
    usage = {
        "input_tokens": prompt_bytes // 4,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 8,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": prompt_bytes // 4 + 8,
    }
    parts = [_event("response.created", response=identity | {"status": "in_progress"})]
    for index, item in enumerate(_items(reply, number)):
        parts.append(_event("response.output_item.added", output_index=index, item=item))
        parts.append(_event("response.output_item.done", output_index=index, item=item))
    parts.append(_event("response.completed", response=identity | {"status": "completed", "usage": usage}))
    return b"".join(parts)


class _Server:
    def __init__(self, player: Player, record: BinaryIO | None) -> None:
        self._player = player
        self._record = record

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        began = time.perf_counter()
        if method == "POST" and path.endswith("/responses"):
            reply = self._player.next(Scene(last_text="", answers=0))
            data = head(200, _STREAM) + chunk(stream(reply, self._player.requests, len(body))) + chunk(b"")
        else:
            text = b'{"object": "list", "data": [], "models": []}'
            data = head(200, {"content-type": "application/json", "content-length": str(len(text))}) + text
        own_ms = round((time.perf_counter() - began) * 1000, 3)
        if self._record is not None:
            line = {"path": path, "headers": headers, "body": body.decode(errors="replace"), "own_ms": own_ms}
            self._record.write(msgspec.json.encode(line) + b"\n")
            self._record.flush()
        return Answer(parts=[Part(data=data)])


async def _serve(server: _Server) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    listener = await asyncio.start_server(
        lambda reader, writer: serve_connection(reader, writer, server.answer), "127.0.0.1", 0
    )
    sys.stdout.write(f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1\n")
    sys.stdout.flush()
    await stop.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--script", type=Path, required=True)
    parser.add_argument("--record", type=Path)
    arguments = parser.parse_args()
    record = arguments.record.open("ab") if arguments.record else None
    asyncio.run(_serve(_Server(Player(load_script(arguments.script)), record)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
