"""A file server on loopback that understands ranges and can be told to fail. Knows not what it serves."""

import threading
from collections import defaultdict, deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self, cast

import msgspec


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """What one answer does instead of delivering.

    status: answer with it and nothing else. spoil: turn every bit of the body. cut: close after that many
    bytes. stall: stop after that many bytes, until the server closes.
    """

    status: int = 0
    spoil: bool = False
    cut: int | None = None
    stall: int | None = None


class Asked(msgspec.Struct, frozen=True):
    method: str
    path: str
    range: str


class FileServer:
    """Use as a context manager. `faults[path]` are used up one per GET; `asked` is every request so far."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[bytes, dict[str, str]]] = {}
        self.faults: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self.asked: list[Asked] = []
        self.ranges = True
        self.stalled = threading.Event()
        self.closing = threading.Event()
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def put(self, path: str, content: bytes, **headers: str) -> None:
        """Serve `content` at `path`; in the names of headers _ stands for a dash."""
        self.files[path] = (content, {name.replace("_", "-"): value for name, value in headers.items()})

    def gets(self, part: str) -> list[str]:
        """The range (or an empty text) of every GET whose path holds `part`."""
        return [each.range for each in self.asked if each.method == "GET" and part in each.path]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, owner: FileServer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.owner = owner


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def owner(self) -> FileServer:
        return cast(_Server, self.server).owner

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Nothing: tests read `asked`."""

    def _answer(self) -> None:
        path = self.path.split("?")[0]
        wanted = self.headers.get("range", "")
        self.owner.asked.append(Asked(self.command, path, wanted))
        waiting = self.owner.faults[path]
        fault = waiting.popleft() if waiting and self.command == "GET" else Fault()
        if path not in self.owner.files or fault.status:
            self._send(fault.status or 404, b"", {}, fault)
            return
        content, headers = self.owner.files[path]
        if fault.spoil:
            content = bytes(byte ^ 0xFF for byte in content)
        self._send_part(content, headers, wanted, fault)

    def _send_part(self, content: bytes, headers: dict[str, str], wanted: str, fault: Fault) -> None:
        fresh = self.headers.get("if-range", headers.get("etag")) == headers.get("etag")
        if not (wanted and self.owner.ranges and fresh):
            self._send(200, content, headers, fault)
            return
        begin = int(wanted.removeprefix("bytes=").split("-")[0])
        if begin >= len(content):
            self._send(416, b"", {"content-range": f"bytes */{len(content)}"}, fault)
            return
        spot = {"content-range": f"bytes {begin}-{len(content) - 1}/{len(content)}"}
        self._send(206, content[begin:], headers | spot, fault)

    def _send(self, status: int, body: bytes, headers: dict[str, str], fault: Fault) -> None:
        self.send_response(status)
        for name, value in ({"content-length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        end = fault.cut if fault.cut is not None else fault.stall
        self.close_connection = self.close_connection or end is not None
        try:
            self.wfile.write(body[:end])
            self.wfile.flush()
        except ConnectionError:
            self.close_connection = True
            return
        if fault.stall is not None:
            self.owner.stalled.set()
            self.owner.closing.wait(60)
