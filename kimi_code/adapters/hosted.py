"""Requests with httpx2: TLS, and the proxies of the environment. Imported only where these are needed."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import httpx2

from kimi_code.adapters.address import CONNECT_S, Address
from kimi_code.adapters.transport import LostConnection, NoConnection, Raw, in_words


class HostedClient:
    """Implements `Client`."""

    def __init__(self, address: Address, fields: dict[str, str]) -> None:
        self._base = address.base
        self._client = httpx2.AsyncClient(
            headers=fields,
            timeout=httpx2.Timeout(None, connect=CONNECT_S),
            trust_env=not address.loopback,
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=16),
        )

    @asynccontextmanager
    async def exchange(self, method: str, path: str, body: bytes | None) -> AsyncGenerator[Raw, None]:
        request = self._client.build_request(method, self._base + path, content=body)
        try:
            response = await self._client.send(request, stream=True)
        except httpx2.ConnectTimeout as error:
            raise NoConnection(f"no answer to the connection within {CONNECT_S:g} s") from error
        except (httpx2.ConnectError, httpx2.ProxyError, httpx2.UnsupportedProtocol) as error:
            raise NoConnection(in_words(error)) from error
        except httpx2.HTTPError as error:
            raise LostConnection from error
        try:
            yield Raw(status=response.status_code, headers=response.headers, body=_body(response))
        finally:
            await response.aclose()

    async def close(self) -> None:
        await self._client.aclose()


async def _body(response: httpx2.Response) -> AsyncGenerator[bytes, None]:
    try:
        async for data in response.aiter_raw():
            yield data
    except httpx2.HTTPError as error:
        raise LostConnection from error
