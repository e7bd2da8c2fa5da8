"""Who may speak to a server on TCP: bearers of the token, from this machine, and no web page. Knows no
route."""

import hmac
from urllib.parse import urlsplit

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Guard:
    """ASGI middleware. A foreign Host is refused (DNS rebinding), any foreign Origin (web pages), a wrong
    token."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        status, message = self._judge(headers)
        if status == 200:
            await self._app(scope, receive, send)
            return
        kind = "authentication_error" if status == 401 else "permission_error"
        body = {"error": {"message": message, "type": kind, "code": "refused", "param": None}}
        await JSONResponse(body, status_code=status)(scope, receive, send)

    def _judge(self, headers: dict[bytes, bytes]) -> tuple[int, str]:
        if not _is_loopback("//" + headers.get(b"host", b"").decode("latin-1")):
            return 403, "This server answers to 127.0.0.1 and localhost alone."
        origin = headers.get(b"origin")
        if origin is not None and not _is_loopback(origin.decode("latin-1")):
            return 403, "Requests of web pages are refused."
        scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer" or not hmac.compare_digest(given.strip(), self._token):
            return 401, "The bearer token is missing or wrong."
        return 200, ""


def _is_loopback(url: str) -> bool:
    try:
        return urlsplit(url).hostname in _LOOPBACK
    except ValueError:
        return False
