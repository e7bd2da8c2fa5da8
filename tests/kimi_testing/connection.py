"""HTTP/1.1 on one kept-alive connection: reads requests, writes answers. Knows no script."""

import asyncio
import socket
import struct
from collections.abc import Callable
from http import HTTPStatus

import msgspec

MAX_BODY = 256 << 20


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes to write after waiting `wait_s`; `end` then says how the connection goes on.

    keep: on to the next part. close: a polite end. reset: RST.
    """

    data: bytes = b""
    wait_s: float = 0.0
    end: str = "keep"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Raw bytes, headers included, in the order in which they are written."""

    parts: list[Part]


Respond = Callable[[str, str, dict[str, str], bytes], Answer]


async def serve_connection(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, respond: Respond
) -> None:
    """Answer requests until the client goes, or an answer ends the connection."""
    try:
        while (request := await _read(reader)) is not None:
            if not await _write(writer, respond(*request)):
                break
    except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        pass
    finally:
        writer.close()


async def _read(reader: asyncio.StreamReader) -> tuple[str, str, dict[str, str], bytes] | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        if name:
            headers[name.lower()] = value.strip()
    if "chunked" in headers.get("transfer-encoding", ""):
        return method, path, headers, await _read_chunked(reader)
    length = int(headers.get("content-length", "0"))
    if length > MAX_BODY:
        return None
    body = await reader.readexactly(length) if length else b""
    return method, path, headers, body


async def _read_chunked(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while size := int(await reader.readline(), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readline()
    return bytes(body)


async def _write(writer: asyncio.StreamWriter, answer: Answer) -> bool:
    for part in answer.parts:
        if part.wait_s:
            await writer.drain()
            await asyncio.sleep(part.wait_s)
        if part.data:
            writer.write(part.data)
        if part.end == "reset":
            await writer.drain()
            # Zero linger turns the close into a RST.
            peer: socket.socket = writer.get_extra_info("socket")
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            return False
        if part.end == "close":
            await writer.drain()
            return False
    await writer.drain()
    return True


def head(status: int, fields: dict[str, str]) -> bytes:
    """A status line and header fields."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Scripted"
    lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {value}" for name, value in fields.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def chunk(data: bytes) -> bytes:
    """One chunk of the chunked transfer encoding; the empty one ends the body."""
    return b"%x\r\n%b\r\n" % (len(data), data)
