"""A scripted OpenAI-compatible server for tests, benchmarks and demos. Loopback only; knows no agent.

    python -m kimi_testing.server --script FILE.json [--port N | --socket PATH] [--record FILE]
        [--faults LIST]

Prints its base URL (`http://127.0.0.1:PORT/v1`) as its first line. `--faults` is a comma-separated list
for the first requests, such as `503,none,reset@3,429:2` (`@` after how many events, `:` seconds, or what
Retry-After says).
"""

import argparse
import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import msgspec

from kimi_testing.connection import Answer, serve_connection
from kimi_testing.delivery import plain_answer, stream_answer
from kimi_testing.script import Fault, Player, Scene, Script, ScriptedReply, load_script
from kimi_testing.wire import error_body, events, usage_object, whole

_BYTES_PER_TOKEN = 4
_READ_LIMIT = 1 << 20


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One request as it came. `own_s`: the server's own time for it, scripted waiting left out."""

    path: str
    headers: dict[str, str]
    body: bytes
    own_s: float = 0.0

    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class _Text(msgspec.Struct):
    text: str = ""


class _Message(msgspec.Struct):
    role: str = ""
    content: str | list[_Text] | None = None


class _StreamOptions(msgspec.Struct):
    include_usage: bool = False


class _Head(msgspec.Struct):
    """What is always looked at; decoding the messages of a long run would be most of this server's time."""

    stream: bool = False
    n: int = 1
    stream_options: _StreamOptions | None = None
    return_progress: bool = False


class _Talk(msgspec.Struct):
    messages: list[_Message] = []


_head_decoder = msgspec.json.Decoder(_Head)
_talk_decoder = msgspec.json.Decoder(_Talk)


class ScriptedServer:
    """`async with ScriptedServer(script) as server:` then `server.url`, `server.seen`.

    `script` may be a callable that takes the decoded request body and returns a ScriptedReply.
    """

    def __init__(
        self,
        script: Script | Callable[[dict[str, Any]], ScriptedReply],
        *,
        port: int = 0,
        socket: str | None = None,
        record: Path | None = None,
    ) -> None:
        self._script = script if isinstance(script, Script) else Script()
        self._reply = None if isinstance(script, Script) else script
        self._player = Player(self._script)
        self._port = port
        self._socket = socket
        self._record = record
        self._file: BinaryIO | None = None
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._last_body = b""
        self.seen: list[Seen] = []
        self.accepted = 0

    @property
    def url(self) -> str:
        """The base URL; with a Unix socket the host is only a name."""
        return f"http://127.0.0.1:{self._port}/v1"

    @property
    def chats(self) -> list[Seen]:
        """The chat requests alone."""
        return [seen for seen in self.seen if seen.path.endswith("/chat/completions")]

    async def __aenter__(self) -> Self:
        if self._record is not None:
            self._file = self._record.open("ab")
        if self._socket is not None:
            self._server = await asyncio.start_unix_server(self._connected, self._socket, limit=_READ_LIMIT)
        else:
            self._server = await asyncio.start_server(
                self._connected, "127.0.0.1", self._port, limit=_READ_LIMIT
            )
            self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()
        if self._file is not None:
            self._file.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.current_task()
        if task is not None:
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
        with contextlib.suppress(asyncio.CancelledError):
            await serve_connection(reader, writer, self._answer)

    def _answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        began = time.perf_counter()
        if method == "POST" and path.endswith("/chat/completions"):
            try:
                answer = self._chat(body)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                answer = plain_answer(400, error_body(Fault(kind="status", status=400, body=str(error))))
        elif method == "GET" and path.endswith("/models"):
            answer = plain_answer(200, self._models())
        else:
            answer = plain_answer(404, error_body(Fault(kind="status", status=404, body=f"no {path} here")))
        own = time.perf_counter() - began
        self._note(Seen(path=path, headers=headers, body=body, own_s=own))
        return answer

    def _chat(self, raw: bytes) -> Answer:
        body = _head_decoder.decode(raw)
        reply = self._next(raw)
        if reply.fault is not None:
            fault = reply.fault
            if fault.kind in ("status", "context"):
                status = fault.status if fault.kind == "status" else 400
                return plain_answer(status, error_body(fault), retry_after=fault.retry_after)
            if fault.kind == "html":
                return plain_answer(200, b"<html><body>It works!</body></html>", content_type="text/html")
        usage = usage_object(reply, len(raw) // _BYTES_PER_TOKEN, self._cached(raw))
        replies = _choices(reply, body.n)
        if not body.stream:
            return plain_answer(200, whole(replies, self._script.model, usage), delay_s=reply.delay_s)
        wants_usage = body.stream_options is not None and body.stream_options.include_usage
        sent = events(
            replies, self._script.model, usage if wants_usage else None, progress=body.return_progress
        )
        return stream_answer(sent, reply.fault, delay_s=reply.delay_s)

    def _next(self, raw: bytes) -> ScriptedReply:
        if self._reply is not None:
            return self._reply(msgspec.json.decode(raw))
        if not self._script.looks:
            return self._player.next(Scene(last_text="", answers=0))
        body = _talk_decoder.decode(raw)
        last = next((_text(m) for m in reversed(body.messages) if m.role in ("user", "tool")), "")
        answers = sum(m.role == "assistant" for m in body.messages)
        return self._player.next(Scene(last_text=last, answers=answers))

    def _cached(self, raw: bytes) -> int:
        """Tokens shared with the request before, as a server with one prefix cache would say."""
        shared = _shared(self._last_body, raw)
        self._last_body = raw
        return shared // _BYTES_PER_TOKEN

    def _models(self) -> bytes:
        entry: dict[str, Any] = {"id": self._script.model, "object": "model", "owned_by": "kimi_testing"}
        context = self._script.context
        match self._script.spelling:
            case "vllm":
                entry["max_model_len"] = context
            case "llama":
                entry |= {"owned_by": "llamacpp", "meta": {"n_ctx_train": 1 << 20, "n_ctx": context}}
            case "moonshot":
                entry["context_length"] = context
            case "none":
                pass
        return msgspec.json.encode({"object": "list", "data": [entry]})

    def _note(self, seen: Seen) -> None:
        if self._file is None:
            self.seen.append(seen)
            return
        line = {
            "path": seen.path,
            "headers": seen.headers,
            "body": seen.body.decode(errors="replace"),
            "own_ms": round(seen.own_s * 1000, 3),
        }
        self._file.write(msgspec.json.encode(line) + b"\n")
        self._file.flush()


def _text(message: _Message) -> str:
    if isinstance(message.content, list):
        return "\n".join(part.text for part in message.content)
    return message.content or ""


def _choices(reply: ScriptedReply, n: int) -> list[ScriptedReply]:
    said = reply.choices or [reply]
    return [said[index % len(said)] for index in range(max(1, n))]


def _shared(a: bytes, b: bytes) -> int:
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def parse_faults(text: str) -> list[Fault | None]:
    """`503,none,reset@3,429:2,silence:5` -> faults. Raises msgspec.ValidationError for an unknown kind."""
    faults: list[Fault | None] = []
    for word in filter(None, (part.strip() for part in text.split(","))):
        name, _, seconds = word.partition(":")
        name, _, after = name.partition("@")
        if name == "none":
            faults.append(None)
            continue
        fields: dict[str, Any] = {"kind": name}
        if name.isdigit():
            fields = {"kind": "status", "status": int(name), "retry_after": seconds}
        elif seconds:
            fields["seconds"] = float(seconds)
        if after:
            fields["after"] = int(after)
        faults.append(msgspec.convert(fields, Fault))
    return faults


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m kimi_testing.server", description=__doc__)
    parser.add_argument("--script", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--socket")
    parser.add_argument("--record", type=Path)
    parser.add_argument("--faults", default="")
    return parser.parse_args()


async def _serve(arguments: argparse.Namespace, script: Script) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    server = ScriptedServer(
        script, port=arguments.port, socket=arguments.socket, record=arguments.record or Path("/dev/null")
    )
    async with server:
        sys.stdout.write(server.url + "\n")
        sys.stdout.flush()
        await stop.wait()


def main() -> int:
    arguments = _arguments()
    try:
        script = load_script(arguments.script)
        faults = parse_faults(arguments.faults)
    except (OSError, msgspec.MsgspecError, ValueError) as error:
        sys.stderr.write(f"The script cannot be used: {error}\n")
        return 2
    if faults:
        script = msgspec.structs.replace(script, faults=faults)
    asyncio.run(_serve(arguments, script))
    return 0


if __name__ == "__main__":
    sys.exit(main())
