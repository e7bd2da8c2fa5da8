"""One kept-alive HTTP client for one server. Knows requests, silence and broken connections, no chat.

Loopback addresses and Unix sockets never go through a proxy of the environment.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, asynccontextmanager
from urllib.parse import urlsplit

import httpx2
import msgspec

from kimi_code.adapters.failures import Server, broken, silent, unreachable
from kimi_code.errors import UsageError

_USER_AGENT = "kimi-code-local"
_DRAIN_S = 1.0
# A peer that vanished without a word is noticed by the kernel after about a minute.
_KEEPALIVE = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)] + [
    (socket.IPPROTO_TCP, getattr(socket, name), value)
    for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
    if hasattr(socket, name)
]


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """A server's base URL (without a slash at its end), or the Unix socket it listens on."""

    base: str
    host: str
    uds: str | None = None

    @property
    def loopback(self) -> bool:
        if self.uds is not None or self.host == "localhost" or self.host.endswith(".localhost"):
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def near(self) -> bool:
        """On this machine or in a private network: a server of one's own, which may think long."""
        try:
            return self.loopback or ipaddress.ip_address(self.host).is_private
        except ValueError:
            return "." not in self.host or self.host.endswith((".local", ".lan", ".internal"))

    @property
    def shown(self) -> str:
        return f"The model server at {self.uds or self.base}"


def parse_address(base_url: str, uds: str | None = None) -> Address:
    """Raises UsageError for what is no http(s) URL. A user name or password in it is not kept for show."""
    hint = "Give it like http://127.0.0.1:8000/v1."
    try:
        parts = urlsplit(base_url.strip())
        port = parts.port
    except ValueError as error:
        raise UsageError(f"The server's URL {base_url!r} is not a URL: {error}.", hint=hint) from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"The server's URL {base_url!r} is not an http or https URL.", hint=hint)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    path = parts.path.rstrip("/").removesuffix("/chat/completions").rstrip("/")
    base = f"{parts.scheme}://{host}{f':{port}' if port else ''}{path}"
    return Address(base=base, host=parts.hostname, uds=uds)


def _headers(api_key: str) -> dict[str, str]:
    fields = {
        "content-type": "application/json",
        "accept": "text/event-stream, application/json",
        # Compressed events arrive in lumps.
        "accept-encoding": "identity",
        "user-agent": _USER_AGENT,
    }
    if api_key:
        if not api_key.isascii() or not api_key.isprintable():
            raise UsageError(
                "The API key holds characters that no key has (a line break, a letter with an accent).",
                hint="Set the variable anew, without quotes and without a line break.",
            )
        fields["authorization"] = f"Bearer {api_key}"
    return fields


class Response:
    """An answer that has begun. `silence` is how long its next bytes are waited for, in seconds."""

    def __init__(self, response: httpx2.Response, server: Server, silence: float) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self.content_type = response.headers.get("content-type", "").lower()
        self.silence = silence
        self._response = response
        self._server = server

    async def chunks(self) -> AsyncGenerator[bytes]:
        """Bytes as they come. Raises Transient when the connection dies or goes silent."""
        async with aclosing(self._response.aiter_raw()) as raw:
            while True:
                try:
                    async with asyncio.timeout(self.silence):
                        data = await anext(raw, None)
                except TimeoutError as error:
                    raise silent(self._server, self.silence) from error
                except httpx2.HTTPError as error:
                    raise broken(self._server, "broke off the connection") from error
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
    """Requests to one server; made when first needed."""

    def __init__(self, address: Address, api_key: str, server: Server) -> None:
        self.address = address
        self._fields = _headers(api_key)
        self._server = server
        self._client: httpx2.AsyncClient | None = None

    def _open(self) -> httpx2.AsyncClient:
        if self._client is None:
            address = self.address
            # Loading the certificates costs 20 ms: a plain connection has no use for them.
            plain = address.uds is not None or address.base.startswith("http://")
            verify = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if plain and address.loopback else True
            transport = None
            if address.loopback:
                transport = httpx2.AsyncHTTPTransport(
                    uds=address.uds,
                    verify=verify,
                    trust_env=False,
                    limits=httpx2.Limits(max_connections=None, max_keepalive_connections=16),
                )
            self._client = httpx2.AsyncClient(
                headers=self._fields,
                timeout=httpx2.Timeout(None, connect=10.0),
                transport=transport,
                trust_env=transport is None,
                limits=httpx2.Limits(max_connections=None, max_keepalive_connections=16),
            )
        return self._client

    @asynccontextmanager
    async def post(self, path: str, body: bytes, *, first_s: float) -> AsyncGenerator[Response]:
        """`first_s`: how long the first byte of the answer is waited for."""
        async with self._exchange("POST", path, body, first_s) as response:
            yield response

    @asynccontextmanager
    async def get(self, path: str, *, first_s: float) -> AsyncGenerator[Response]:
        async with self._exchange("GET", path, None, first_s) as response:
            yield response

    @asynccontextmanager
    async def _exchange(
        self, method: str, path: str, body: bytes | None, first_s: float
    ) -> AsyncGenerator[Response]:
        client = self._open()
        request = client.build_request(method, self.address.base + path, content=body)
        response = await self._send(client, request, first_s)
        try:
            yield Response(response, self._server, first_s)
        finally:
            await response.aclose()

    async def _send(
        self, client: httpx2.AsyncClient, request: httpx2.Request, first_s: float
    ) -> httpx2.Response:
        try:
            async with asyncio.timeout(first_s):
                return await client.send(request, stream=True)
        except TimeoutError as error:
            raise silent(self._server, first_s) from error
        except httpx2.ConnectTimeout as error:
            raise unreachable(self._server, "no answer to the connection within 10 s") from error
        except (httpx2.ConnectError, httpx2.ProxyError, httpx2.UnsupportedProtocol) as error:
            raise unreachable(self._server, _why(error)) from error
        except httpx2.HTTPError as error:
            raise broken(self._server, "closed the connection without an answer") from error

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None


def _why(error: httpx2.HTTPError) -> str:
    """The operating system's words for what went wrong, without the wrapping of the layers between."""
    cause: BaseException = error
    while (deeper := cause.__cause__ or cause.__context__) is not None:
        cause = deeper
    if isinstance(cause, socket.gaierror):
        return "its name cannot be resolved (no such host, or no network)"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return str(error) or "no connection"
