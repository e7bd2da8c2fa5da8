"""Requests to one server and answers that have begun: silence, lost connections. Knows no chat.

Two clients carry them. direct.py speaks plain HTTP itself, to servers on this machine and beside it, where
start-up and milliseconds count. hosted.py is httpx2, wherever TLS or a proxy is in between.
"""

import asyncio
import importlib
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager

from kimi_code.adapters.address import Address, header_fields
from kimi_code.adapters.direct import DirectClient
from kimi_code.adapters.failures import Server, broken, malformed, silent, unreachable
from kimi_code.adapters.transport import Client, LostConnection, NoConnection, NotHttp, Raw


class Response:
    """An answer that has begun. `silence` is how long its next bytes are waited for, in seconds."""

    def __init__(self, raw: Raw, server: Server, silence: float) -> None:
        self.status = raw.status
        self.headers: Mapping[str, str] = raw.headers
        self.content_type = raw.headers.get("content-type", "").lower()
        self.silence = silence
        self._body = raw.body
        self._server = server

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Bytes as they come. Raises Transient when the connection dies or goes silent."""
        if self.headers.get("content-encoding", "identity") != "identity":
            raise malformed(self._server, "compresses its answers, which it was asked not to do")
        async with aclosing(self._body) as body:
            while True:
                try:
                    async with asyncio.timeout(self.silence):
                        data = await anext(body, None)
                except TimeoutError as error:
                    raise silent(self._server, self.silence) from error
                except LostConnection as error:
                    raise broken(self._server, "broke off the connection") from error
                except NotHttp as error:
                    raise malformed(self._server, "sent what is not HTTP") from error
                if data is None:
                    return
                yield data

    async def read(self, most: int) -> bytes:
        """The body, its first `most` bytes."""
        body = bytearray()
        async with aclosing(self.chunks()) as chunks:
            async for data in chunks:
                body += data
                if len(body) >= most:
                    break
        return bytes(body[:most])


class HttpClient:
    """Requests to one server; its client is made when first needed."""

    def __init__(self, address: Address, api_key: str, server: Server) -> None:
        self._address = address
        self._fields = header_fields(api_key)
        self._server = server
        self._client: Client | None = None

    def _open(self) -> Client:
        if self._client is None:
            make: Callable[[Address, dict[str, str]], Client] = DirectClient
            if not self._address.direct:
                # By name, since importing it costs more than a whole run against a local server needs.
                make = importlib.import_module("kimi_code.adapters.hosted").HostedClient
            self._client = make(self._address, self._fields)
        return self._client

    @asynccontextmanager
    async def exchange(
        self, method: str, path: str, body: bytes | None = None, *, first_s: float
    ) -> AsyncGenerator[Response, None]:
        """`first_s`: how long the first byte of the answer is waited for. Raises Transient."""
        exchange = self._open().exchange(method, path, body)
        try:
            async with asyncio.timeout(first_s):
                raw = await exchange.__aenter__()
        except TimeoutError as error:
            raise silent(self._server, first_s) from error
        except NoConnection as error:
            raise unreachable(self._server, str(error)) from error
        except LostConnection as error:
            raise broken(self._server, "closed the connection without an answer") from error
        except NotHttp as error:
            raise malformed(self._server, "sent what is not HTTP") from error
        try:
            yield Response(raw, self._server, first_s)
        finally:
            await exchange.__aexit__(None, None, None)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None
