"""Plain HTTP/1.1 over TCP or a Unix socket, on asyncio alone. Knows no TLS, no proxy, no redirect, no chat.

A client library for all of HTTP takes 80 ms to import and a millisecond a request: half of what a whole run
against a server on the same machine may take.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from socket import socket

from kimi_code.adapters.address import CONNECT_S, KEEPALIVE, Address
from kimi_code.adapters.transport import LostConnection, NoConnection, NotHttp, Raw, in_words

_MAX_HEAD = 256 << 10
_READ = 64 << 10
_KEPT = 16
_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class DirectClient:
    """Implements `Client`."""

    def __init__(self, address: Address, fields: dict[str, str]) -> None:
        self._address = address
        port = "" if address.port == 80 else f":{address.port}"
        host = f"[{address.host}]" if ":" in address.host else address.host
        lines = [f"host: {host}{port}", *(f"{name}: {value}" for name, value in fields.items())]
        self._fields = "\r\n".join(lines)
        self._idle: list[_Streams] = []

    @asynccontextmanager
    async def exchange(self, method: str, path: str, body: bytes | None) -> AsyncGenerator[Raw, None]:
        length = f"\r\ncontent-length: {len(body)}" if body is not None else ""
        head = f"{method} {self._address.path}{path} HTTP/1.1\r\n{self._fields}{length}\r\n\r\n"
        streams, status, headers, version = await self._begin(head.encode("latin-1") + (body or b""))
        reader, writer = streams
        content = _Body(reader, status, headers)
        try:
            yield Raw(status=status, headers=headers, body=content.pieces())
        finally:
            lasting = version == "HTTP/1.1" and "close" not in headers.get("connection", "").lower()
            if content.whole and lasting and len(self._idle) < _KEPT:
                self._idle.append(streams)
            else:
                writer.transport.abort()

    async def _begin(self, request: bytes) -> tuple[_Streams, int, dict[str, str], str]:
        """Send, and read the head. A kept connection that the server has closed meanwhile is replaced."""
        while True:
            streams, fresh = await self._connect()
            try:
                return streams, *await _send(streams, request)
            except LostConnection:
                streams[1].transport.abort()
                if fresh:
                    raise
            except BaseException:
                streams[1].transport.abort()
                raise

    async def _connect(self) -> tuple[_Streams, bool]:
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof() and not writer.is_closing():
                return (reader, writer), False
            writer.close()
        address = self._address
        try:
            async with asyncio.timeout(CONNECT_S):
                if address.uds is not None:
                    return await asyncio.open_unix_connection(address.uds, limit=_MAX_HEAD), True
                reader, writer = await asyncio.open_connection(address.host, address.port, limit=_MAX_HEAD)
        except TimeoutError as error:
            raise NoConnection(f"no answer to the connection within {CONNECT_S:g} s") from error
        except OSError as error:
            raise NoConnection(in_words(error)) from error
        peer: socket = writer.get_extra_info("socket")
        for option in KEEPALIVE:
            peer.setsockopt(*option)
        return (reader, writer), True

    async def close(self) -> None:
        idle, self._idle = self._idle, []
        for _, writer in idle:
            writer.close()
        for _, writer in idle:
            with suppress(OSError):
                await writer.wait_closed()


async def _send(streams: _Streams, request: bytes) -> tuple[int, dict[str, str], str]:
    reader, writer = streams
    with suppress(OSError):  # the server may have answered before it had read all of it
        writer.write(request)
        await writer.drain()
    while True:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (OSError, asyncio.IncompleteReadError) as error:
            raise LostConnection from error
        except asyncio.LimitOverrunError as error:
            raise NotHttp from error
        status, headers, version = _parse(head)
        if status >= 200:
            return status, headers, version


def _parse(head: bytes) -> tuple[int, dict[str, str], str]:
    first, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    status = rest[:3]
    if not version.startswith("HTTP/1.") or not status.isdigit() or len(status) != 3:
        raise NotHttp
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            name, value = name.strip().lower(), value.strip()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return int(status), headers, version


class _Body:
    """Reads one body; `whole` when its end was seen and the connection can be used again."""

    def __init__(self, reader: asyncio.StreamReader, status: int, headers: Mapping[str, str]) -> None:
        self._reader = reader
        self._chunked = "chunked" in headers.get("transfer-encoding", "").lower()
        length = headers.get("content-length", "")
        self._sized = length.isdigit() and not self._chunked
        self._left = int(length) if self._sized else 0
        self.whole = status in (204, 304) or (self._sized and not self._left)

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        try:
            while data := await self._next():
                yield data
        except (OSError, asyncio.IncompleteReadError) as error:
            raise LostConnection from error
        except asyncio.LimitOverrunError as error:
            raise NotHttp from error

    async def _next(self) -> bytes:
        if self.whole:
            return b""
        if not self._chunked and not self._sized:
            return await self._reader.read(_READ)  # the end of the connection is the end of the body
        if not self._left:
            self._left = _chunk_size(await self._reader.readuntil(b"\r\n"))
            if not self._left:
                while await self._reader.readuntil(b"\r\n") != b"\r\n":
                    pass  # trailers
                self.whole = True
                return b""
        data = await self._reader.read(min(self._left, _READ))
        if not data:
            raise LostConnection
        self._left -= len(data)
        if not self._left:
            if self._chunked and await self._reader.readexactly(2) != b"\r\n":
                raise NotHttp
            self.whole = self._sized
        return data


def _chunk_size(line: bytes) -> int:
    text = line.partition(b";")[0].strip()
    if not text or len(text) > 16 or text.strip(b"0123456789abcdefABCDEF"):
        raise NotHttp
    return int(text, 16)
