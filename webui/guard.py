"""Who may ask, how often, and what browsers are told to forbid: everything that holds for all requests alike."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import math
import time
from collections import OrderedDict
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from webui import questions, shapes
from webui.contract import Call, Operation
from webui.problems import Refusal, problem_response
from webui.uploads import COOKIE

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from webui.options import Options

__all__ = ["OPERATIONS", "Guard", "Rates", "login", "service", "signed_in"]

TOKEN_COOKIE = "calque_token"

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
"""What every answer says to browsers."""

_GUARDED = ("/api", "/iiif", "/maps")
_OPEN = ("/api", "/api/login")
"""What is answered without a token."""

_COSTLY = ("/search", "/similar", "/comparison", "/uploads", "/login", "/jobs")
_COST = 10.0
"""Ordinary requests that one which computes counts for."""

_BURST_SECONDS = 20.0
"""Seconds' worth of requests that a client may make at once."""

_CLIENTS = 10_000
_LONGEST_ADDRESS = 8192


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, options: Options) -> None:
        self._app = app
        self._options = options
        self._rates = Rates(options.rate)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sent = False

        async def guarded(message: Message) -> None:
            nonlocal sent
            if message["type"] == "http.response.start":
                sent = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if not scope["path"].startswith("/iiif") and "cache-control" not in headers:
                    headers["Cache-Control"] = "no-store"
            await send(message)

        client = self._client(scope)
        request = Request(scope, receive)
        try:
            response = self._examined(request, client)
            if response is None:
                await self._app(scope, receive, guarded)
                return
        except Refusal as refusal:
            response = problem_response(refusal)
        except Exception:
            if not sent:
                await problem_response(Refusal(500, "the server has failed; its log tells why"))(
                    scope, receive, guarded
                )
            raise
        await response(scope, receive, guarded)

    def _client(self, scope: Scope) -> str:
        """Return the address of who asks; where a proxy stands before us, that and the scheme are what it tells."""
        client = scope["client"][0] if scope.get("client") else ""
        if client in self._options.proxies:
            headers = Headers(scope=scope)
            if (scheme := headers.get("x-forwarded-proto")) in ("http", "https"):
                scope["scheme"] = scheme
            client = headers.get("x-forwarded-for", client).rpartition(",")[2].strip()
        return str(client)

    def _examined(self, request: Request, client: str) -> Response | None:
        """Return what to answer at once, None if the request may go on; `Refusal` if it may not."""
        options = self._options
        path = request.url.path
        if len(path) + len(request.url.query) > _LONGEST_ADDRESS:
            raise Refusal(414, f"an address of more than {_LONGEST_ADDRESS} characters")
        if "\0" in path or "\\" in path or ".." in path.split("/"):
            raise Refusal(404, "there is nothing at such an address")
        self._require_our_name(request)
        user = self._user(request)
        request.state.user = user
        request.state.owner = f"user {user}" if user is not None else request.cookies.get(COOKIE, "")
        self._rates.take(user or client, _COST if any(part in path for part in _COSTLY) else 1.0)
        guarded = any(path == start or path.startswith(f"{start}/") for start in _GUARDED)
        if guarded or request.method not in ("GET", "HEAD"):
            _require_our_pages(request)
        request.state.authenticated = self._knows_token(request)
        if guarded and path not in _OPEN and not request.state.authenticated:
            raise Refusal(
                401, "a token is wanted: the one that calque serve has printed", {"WWW-Authenticate": "Bearer"}
            )
        told = request.query_params.get("token")
        if options.token is not None and told is not None and path == "/" and request.method == "GET":
            if not _same(told, options.token):
                raise Refusal(401, "this is not the token that calque serve has printed")
            return signed_in(RedirectResponse("/", 303), options.token, request)
        return None

    def _require_our_name(self, request: Request) -> None:
        """Refuse a request made under a name that is not ours: another site's, led here by its name server."""
        told = request.headers.get("host", "")
        try:
            host = (urlsplit(f"//{told}").hostname or "").rstrip(".")
        except ValueError:
            host = ""
        if host == "localhost" or host in self._options.names or _is_address(host):
            return
        raise Refusal(421, f"{told!r} is not a name of this server; start it with --name {host or 'NAME'} if it is")

    def _user(self, request: Request) -> str | None:
        header = self._options.user_header
        if header is None:
            return None
        client = request.client.host if request.client is not None else ""
        user = request.headers.get(header, "").strip()
        if client not in self._options.proxies or not user:
            raise Refusal(401, "this server is to be reached through its proxy, which tells who asks")
        return user[:200]

    def _knows_token(self, request: Request) -> bool:
        token = self._options.token
        if token is None:
            return True
        kind, _, told = request.headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and _same(told.strip(), token):
            return True
        return _same(request.cookies.get(TOKEN_COOKIE, ""), _kept_token(token))


class Rates:
    """How often each client has asked: a bucket that fills steadily, and that requests are taken out of.

    Parameters
    ----------
    rate : float
        Requests a second that a bucket fills with; 0 for no limit.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._full = rate * _BURST_SECONDS
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str, cost: float) -> None:
        """Take a request out of a client's bucket; `Refusal` (429) if there is not enough in it."""
        if self._rate <= 0:
            return
        now = time.monotonic()
        left, before = self._left.pop(client, (self._full, now))
        left = min(self._full, left + (now - before) * self._rate)
        enough = left >= cost
        self._left[client] = (left - cost if enough else left, now)
        while len(self._left) > _CLIENTS:
            self._left.popitem(last=False)
        if not enough:
            seconds = math.ceil((cost - left) / self._rate)
            raise Refusal(429, f"too many requests; wait {seconds} s", {"Retry-After": str(seconds)})


def signed_in(response: Response, token: str, request: Request) -> Response:
    """Return a response that lets the client in from now on."""
    secure = request.url.scheme == "https"
    kept = _kept_token(token)
    response.set_cookie(TOKEN_COOKIE, kept, path="/", httponly=True, samesite="strict", secure=secure)
    return response


async def service(call: Call) -> shapes.Service:
    """Return what this server is, and lets this client do."""
    options = call.server.options
    authenticated = bool(call.request.state.authenticated)
    return shapes.Service(
        calque=call.server.version,
        read_only=options.read_only,
        authenticated=authenticated,
        user=call.user,
        folders=[str(folder) for folder in options.folders] if authenticated and not options.read_only else [],
        addresses=options.addresses and not options.read_only,
        limits=shapes.Limits(options.upload_bytes, options.upload_pixels, options.export_pictures),
    )


async def login(call: Call, body: questions.LoginRequest) -> Response:
    """Let a client in that knows the token."""
    token = call.server.options.token
    if token is not None and not _same(body.token, token):
        raise Refusal(401, "this is not the token that calque serve has printed")
    response = Response(status_code=204)
    return response if token is None else signed_in(response, token, call.request)


def _require_our_pages(request: Request) -> None:
    """Refuse what a page of another site makes a browser ask."""
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    ours = f"{request.url.scheme}://{request.headers.get('host', '')}"
    led_here = request.method in ("GET", "HEAD") and request.headers.get("sec-fetch-mode") == "navigate"
    if (site not in (None, "same-origin", "none") and not led_here) or (origin is not None and origin != ours):
        raise Refusal(403, "this was asked by a page of another site")


def _same(told: str, known: str) -> bool:
    return hmac.compare_digest(told.encode(errors="replace"), known.encode())


def _kept_token(token: str) -> str:
    """Return what a browser keeps instead of the token."""
    return hashlib.blake2b(token.encode(), person=b"calque cookie", digest_size=24).hexdigest()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


OPERATIONS = (
    Operation("GET", "/api", service, "The server, and what it lets this client do", shapes.Service),
    Operation(
        "POST", "/api/login", login, "Tell the token", "", body=questions.LoginRequest, status=204, refusals=(401,)
    ),
)
"""Routes of this module."""
