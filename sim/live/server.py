"""Serves the page of a run on the loopback interface: the page, what happens, and what viewers ask for."""

import asyncio
import json
import secrets
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from types import TracebackType
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from sim.errors import UserError
from sim.live.connection import Connection
from sim.live.control import PACE, Command, CommandError, command_of
from sim.live.guard import Guard
from sim.live.hub import Hub, TooManyViewersError, View
from sim.live.setting import city_bytes, setting_of
from sim.scenario import Scenario

PAGE = Path(__file__).resolve().parent / "page" / "dist"
FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/live.js": ("live.js", "text/javascript; charset=utf-8"),
    "/live.css": ("live.css", "text/css; charset=utf-8"),
    "/licences.txt": ("licences.txt", "text/plain; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
HOST = "127.0.0.1"
UPDATE_EVERY_S = 1 / 30
BREATH_EVERY_S = 5.0
"""Something is sent this often even if nothing happens, so that both sides see whether the other is there."""
STALLED_AFTER_S = 30.0
"""A viewer who takes nothing for so long is given up."""
MAX_CONNECTIONS = 128


@dataclass(frozen=True, slots=True)
class Programme:
    """What a server shows.

    Attributes:
        scenario: of the run.
        hub: of a run that goes on; None for a recording.
        submit: takes commands for the run; says whether it will see to them.
        controlled: things can be made to fail; else viewers set the pace only.
        recording: of a run that is over; None for one that goes on.
    """

    scenario: Scenario
    hub: Hub | None = None
    submit: Callable[[Command], bool] | None = None
    controlled: bool = True
    recording: Mapping[str, Any] | None = None


class LiveServer:
    """A page on a port, as a context; runs in a thread of its own.

    Args:
        programme: what to show.
        port: on the loopback interface; 0 takes a free one.

    Raises:
        UserError: on entry, if the port is taken.
    """

    def __init__(self, programme: Programme, port: int = 0) -> None:
        self.token = secrets.token_urlsafe(18)
        self._programme = programme
        self._port = port
        self._closing = Event()

    @property
    def url(self) -> str:
        """Where the page is, token included: the part behind # never travels."""
        return f"http://{HOST}:{self._port}/#{self.token}"

    @property
    def port(self) -> int:
        """The port, known once the server is entered."""
        return self._port

    def __enter__(self) -> Self:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((HOST, self._port))
            self._socket.listen()
        except OSError as error:
            self._socket.close()
            raise UserError(f"--port {self._port}: {error.strerror}") from error
        self._port = self._socket.getsockname()[1]
        names = (HOST, "localhost")
        guarded = Guard(
            application(self._programme, self._closing),
            token=self.token,
            hosts=[f"{name}:{self._port}" for name in names],
            open_paths=FILES,
        )
        config = uvicorn.Config(
            guarded,
            loop="asyncio",
            http=Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = Thread(target=self._server.run, args=([self._socket],), name="live view", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()


def application(programme: Programme, closing: Event) -> Starlette:
    """The routes; who may use them is the guard's business.

    Args:
        programme: what to show.
        closing: set when streams shall end.
    """
    mode = "live" if programme.recording is None else "recorded"
    setting = setting_of(programme.scenario, "live" if mode == "live" else "recorded")
    setting["controlled"] = programme.controlled and programme.recording is None

    async def control(request: Request) -> Response:
        try:
            command = command_of(json.loads(await request.body()), programme.scenario)
        except CommandError as error:
            return PlainTextResponse(f"{error}\n", 422)
        except (ValueError, RecursionError):
            return PlainTextResponse("not JSON\n", 422)
        if not programme.controlled and command.action not in PACE:
            return PlainTextResponse("in a replay nothing can be made to fail\n", 409)
        if programme.submit is None or not programme.submit(command):
            return PlainTextResponse("the run does not take commands\n", 409)
        return JSONResponse({"accepted": True})

    routes = [Route(path, _file(*file)) for path, file in FILES.items()]
    routes.append(Route("/setting", lambda _: JSONResponse(setting)))
    city = city_bytes(programme.scenario)
    routes.append(Route("/city", lambda _: Response(city, media_type="application/octet-stream")))
    if programme.recording is not None:
        recording = json.dumps(programme.recording, separators=(",", ":"))
        routes.append(Route("/recording", lambda _: Response(recording, media_type="application/json")))
    if programme.hub is not None:
        routes.append(Route("/stream", Stream(programme.hub, closing), methods=["GET"]))
        routes.append(Route("/control", control, methods=["POST"]))
    return Starlette(routes=routes)


def _file(name: str, media_type: str) -> Callable[[Request], Response]:
    return lambda _: FileResponse(PAGE / name, media_type=media_type)


class Stream:
    """Server-sent events: first what was, then what changes, at most `1 / UPDATE_EVERY_S` times a second.

    Args:
        hub: what happens.
        closing: set when streams shall end.
    """

    def __init__(self, hub: Hub, closing: Event) -> None:
        self._hub = hub
        self._closing = closing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one viewer."""
        try:
            view = self._hub.view()
        except TooManyViewersError as error:
            await PlainTextResponse(f"{error}\n", 503)(scope, receive, send)
            return
        with view:
            sending = asyncio.create_task(self._send(view, send))
            leaving = asyncio.create_task(_left(receive))
            done, pending = await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)
            for task in done:
                if not isinstance(task.exception(), OSError | None):
                    raise RuntimeError("the stream broke") from task.exception()

    async def _send(self, view: View, send: Send) -> None:
        async def out(text: str, *, more: bool = True) -> None:
            async with asyncio.timeout(STALLED_AFTER_S):
                await send({"type": "http.response.body", "body": text.encode(), "more_body": more})

        headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await out(_event("history", view.history))
        view.history.clear()
        silent_s = 0.0
        while not self._closing.is_set():
            await asyncio.sleep(UPDATE_EVERY_S)
            changes = view.take()
            silent_s = 0.0 if changes else silent_s + UPDATE_EVERY_S
            if changes:
                await out(_event("update", {"changes": changes, "dropped": view.dropped}))
            elif silent_s > BREATH_EVERY_S:
                silent_s = 0.0
                await out(":\n\n")
        await out(_event("end", {}), more=False)


async def _left(receive: Receive) -> None:
    """Return when the other side has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _event(kind: str, content: Any) -> str:
    return f"event: {kind}\ndata: {json.dumps(content, separators=(',', ':'))}\n\n"
