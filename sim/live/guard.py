"""What comes in from the network is checked here, before anything else sees it."""

import secrets
from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from broker.rate import RateLimit

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-store",
}
MAX_BODY_BYTES = 4096


class Guard:
    """Checks host, origin, token, size and rate of each request, and hardens each response.

    Args:
        app: gets what passes.
        token: what a request for anything but the page itself must bear.
        hosts: names under which the server may be addressed; others come from rebound DNS names.
        open_paths: the page, in which nothing is secret.
    """

    def __init__(
        self, app: ASGIApp, *, token: str, hosts: Collection[str], open_paths: Collection[str]
    ) -> None:
        self._app = app
        self._bearer = f"Bearer {token}".encode()
        self._hosts = frozenset(hosts)
        self._open_paths = frozenset(open_paths)
        self._refusals = RateLimit(10, 20)
        self._commands = RateLimit(20, 40)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] != "http":
            return

        async def send_hardened(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            status, text = refusal
            await PlainTextResponse(text + "\n", status)(scope, receive, send_hardened)
            return
        await self._app(scope, receive, send_hardened)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers = Headers(scope=scope)
        if headers.getlist("host") != [headers.get("host")] or headers.get("host") not in self._hosts:
            return 421, "unknown host"
        origin = headers.get("origin")
        if origin is not None and origin != f"http://{headers['host']}":
            return 403, "foreign origin"
        is_open = scope["path"] in self._open_paths
        # A link from elsewhere may open the page; it brings no token.
        is_opened = is_open and headers.get("sec-fetch-mode") == "navigate"
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not is_opened:
            return 403, "foreign origin"
        if is_open:
            return None
        given = headers.get("authorization", "").encode()
        if not secrets.compare_digest(given, self._bearer):
            return (401, "wrong token") if self._refusals.takes() else (429, "too many requests")
        if scope["method"] == "POST":
            return self._refusal_of_command(headers)
        return None

    def _refusal_of_command(self, headers: Headers) -> tuple[int, str] | None:
        if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return 415, "a command is application/json"
        length = headers.get("content-length", "")
        if "transfer-encoding" in headers:  # which is what counts where both are there, and has no end
            return 411, "a command says its length"
        if not length.isdecimal() or len(length) > 9:
            return 411, "a command says its length"
        if int(length) > MAX_BODY_BYTES:
            return 413, f"a command has at most {MAX_BODY_BYTES} bytes"
        return None if self._commands.takes() else (429, "too many requests")
