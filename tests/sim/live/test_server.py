"""The server: who gets in, what goes out, and what becomes of a viewer who does not listen."""

import http.client
import json
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from broker.rate import RateLimit
from sim.errors import UserError
from sim.live import Hub, LiveServer, Programme
from sim.live.control import Command
from sim.live.server import FILES, PAGE
from tests.sim.kit import scenario_of

SCENARIO = scenario_of({})
SECRETS = ("/setting", "/city", "/stream", "/control", "/recording", "/nothing")


class Served:
    """A live server without a run: its hub, and the commands it took."""

    def __init__(self) -> None:
        self.hub = Hub(max_viewers=3)
        self.taken: list[Command] = []
        self.lines: list[http.client.HTTPConnection] = []
        self.server = LiveServer(Programme(SCENARIO, hub=self.hub, submit=self.submit))

    def submit(self, command: Command) -> bool:
        self.taken.append(command)
        return True

    def ask(
        self, path: str, method: str = "GET", body: Any = None, token: str | None = "", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of an answer; the right token by default, none with None."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            sent.setdefault("authorization", f"Bearer {token or self.server.token}")
        content = None
        if body is not None:
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            sent.setdefault("content-type", "application/json")
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=10)
        try:
            connection.request(method, path, content, sent)
            response = connection.getresponse()
            return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
        finally:
            connection.close()

    def watch(self) -> http.client.HTTPResponse:
        """The stream, open."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=10)
        self.lines.append(connection)
        connection.request("GET", "/stream", headers={"authorization": f"Bearer {self.server.token}"})
        return connection.getresponse()

    def hang_up(self) -> None:
        """Close all streams."""
        for line in self.lines:
            if line.sock is not None:
                line.sock.shutdown(socket.SHUT_RDWR)
            line.close()
        self.lines.clear()


@pytest.fixture
def served() -> Iterator[Served]:
    served = Served()
    with served.server:
        yield served
        served.hang_up()


def event_of(stream: http.client.HTTPResponse) -> tuple[str, Any]:
    """The next event of a stream."""
    kind = stream.readline().decode().removeprefix("event: ").strip()
    content = json.loads(stream.readline().decode().removeprefix("data: "))
    assert stream.readline() == b"\n"
    return kind, content


@pytest.mark.parametrize("path", FILES)
def test_the_page_needs_no_token_and_may_load_nothing_from_outside(served: Served, path: str) -> None:
    status, headers, body = served.ask(path, token=None)
    assert status == 200
    assert body == (PAGE / FILES[path][0]).read_bytes()
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'")
    assert "unsafe" not in policy
    assert "http" not in policy
    assert (headers["x-content-type-options"], headers["cache-control"]) == ("nosniff", "no-store")


@pytest.mark.parametrize("path", SECRETS)
@pytest.mark.parametrize("token", [None, "wrong", "é"])
def test_without_the_token_nothing_comes_out(served: Served, path: str, token: str | None) -> None:
    if token == "é":
        status, _, body = served.ask(path, token=None, authorization="Bearer \xe9")
    else:
        status, _, body = served.ask(path, token=token)
    assert (status, body) == (401, b"wrong token\n")


def test_without_the_token_nothing_goes_in(served: Served) -> None:
    assert served.ask("/control", "POST", {"do": "pause"}, token="wrong")[0] == 401
    assert served.taken == []


@pytest.mark.parametrize("path", ["/", *SECRETS])
def test_a_foreign_origin_or_host_gets_nothing_in_and_nothing_out(served: Served, path: str) -> None:
    method, body = ("POST", {"do": "pause"}) if path == "/control" else ("GET", None)
    refused = [
        served.ask(path, method, body, origin="http://evil.example"),
        served.ask(path, method, body, origin="null"),
        served.ask(path, method, body, origin=f"http://127.0.0.1:{served.server.port + 1}"),
        served.ask(path, method, body, sec_fetch_site="cross-site"),
        served.ask(path, method, body, host="evil.example"),
        served.ask(path, method, body, host=f"evil.example:{served.server.port}"),
    ]
    assert [(status, text) for status, _, text in refused] == [
        *[(403, b"foreign origin\n")] * 4,
        *[(421, b"unknown host\n")] * 2,
    ]
    assert served.taken == []


def test_the_own_origin_may_command(served: Served) -> None:
    origin = f"http://127.0.0.1:{served.server.port}"
    status, _, _ = served.ask("/control", "POST", {"do": "bs_down", "target": "bs3"}, origin=origin)
    assert (status, served.taken) == (200, [Command("bs_down", "bs3")])


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"not json", 422),
        (b"\xff\xfe", 422),
        (b"[" * 4000, 422),
        (b'{"do": "pause", "to": NaN}', 422),
        ({"do": "format_disk"}, 422),
        (b"[1" + b" " * 5000, 413),
    ],
)
def test_a_bad_command_is_refused_in_words(served: Served, body: Any, status: int) -> None:
    found, _, text = served.ask("/control", "POST", body)
    assert found == status
    assert 0 < len(text) < 200
    assert served.taken == []
    assert served.ask("/setting")[0] == 200


def answer_to(served: Served, headers: str, body: str = "") -> bytes:
    """What comes back first from a command with headers of its own."""
    with socket.create_connection(("127.0.0.1", served.server.port), timeout=10) as line:
        line.sendall(
            f"POST /control HTTP/1.1\r\nHost: 127.0.0.1:{served.server.port}\r\n"
            f"Authorization: Bearer {served.server.token}\r\nContent-Type: application/json\r\n"
            f"{headers}\r\n\r\n{body}".encode()
        )
        return line.recv(4096)


def test_a_command_says_what_it_is_and_how_long(served: Served) -> None:
    assert served.ask("/control", "POST", {"do": "pause"}, content_type="text/plain")[0] == 415
    answer = answer_to(served, "Transfer-Encoding: chunked", "5\r\n[1,2]\r\n0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 411 ")
    assert served.taken == []


def test_a_command_in_pieces_is_refused_whatever_length_it_says(served: Served) -> None:
    answer = answer_to(
        served, "Content-Length: 10\r\nTransfer-Encoding: chunked"
    )  # before the body has an end
    assert answer.startswith(b"HTTP/1.1 411 ")
    assert served.taken == []


ASKS = "POST /control HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n"


@pytest.mark.parametrize(
    "begun", ["", "GET / HT", ASKS + "Content-Type: application/json\r\nContent-Length: 9\r\n\r\n["]
)
def test_whoever_does_not_ask_in_time_is_hung_up_on(
    served: Served, monkeypatch: pytest.MonkeyPatch, begun: str
) -> None:
    monkeypatch.setattr("sim.live.connection.REQUEST_WITHIN_S", 0.3)
    stream = served.watch()
    event_of(stream)
    address = ("127.0.0.1", served.server.port)
    started = time.monotonic()
    with socket.create_connection(address, timeout=10) as line:
        line.sendall(begun.format(host=f"127.0.0.1:{address[1]}", token=served.server.token).encode())
        assert line.recv(4096) == b""
    assert 0.2 < time.monotonic() - started < 5
    assert served.ask("/setting")[0] == 200
    served.hub.publish("run", {"t": 1})
    assert event_of(stream)[0] == "update", "who has asked stays"


def test_what_comes_after_a_first_request_has_its_time_too(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sim.live.connection.REQUEST_WITHIN_S", 0.3)
    connection = http.client.HTTPConnection("127.0.0.1", served.server.port, timeout=10)
    for _ in range(3):
        connection.request("GET", "/icon.svg")
        assert connection.getresponse().read()
    assert connection.sock is not None
    connection.sock.sendall(b"GET / HT")
    assert connection.sock.recv(4096) == b""
    connection.close()


def test_whoever_asks_and_does_not_take_the_answer_is_hung_up_on(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sim.live.connection.TAKEN_WITHIN_S", 0.3, raising=False)
    answers = 16  # more than the system would keep for a reader
    with socket.socket() as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.connect(("127.0.0.1", served.server.port))
        host = f"127.0.0.1:{served.server.port}"
        line.sendall(f"GET /live.js HTTP/1.1\r\nHost: {host}\r\n\r\n".encode() * answers)
        time.sleep(2.0)
        taken = 0
        line.settimeout(10)
        with suppress(ConnectionResetError):
            while part := line.recv(1 << 16):
                taken += len(part)
                assert taken < answers * (PAGE / "live.js").stat().st_size
    assert served.ask("/")[0] == 200


def test_whoever_takes_an_answer_slowly_gets_all_of_it(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sim.live.connection.TAKEN_WITHIN_S", 0.5, raising=False)
    with socket.socket() as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.connect(("127.0.0.1", served.server.port))
        host = f"127.0.0.1:{served.server.port}"
        request = f"GET /live.js HTTP/1.1\r\nHost: {host}\r\n"
        line.sendall(f"{request}\r\n".encode() * 7 + f"{request}Connection: close\r\n\r\n".encode())
        line.settimeout(10)
        taken, size = 0, (PAGE / "live.js").stat().st_size
        while part := line.recv(1 << 16):
            taken += len(part)
            if taken % size < len(part):
                time.sleep(0.2)
    assert taken > 8 * size


def test_commands_and_guesses_are_limited_in_rate(served: Served) -> None:
    commands = [served.ask("/control", "POST", {"do": "pause"})[0] for _ in range(80)]
    assert commands[:40] == [200] * 40
    assert 429 in commands
    guesses = [served.ask("/setting", token="wrong")[0] for _ in range(60)]
    assert set(guesses) == {401, 429}
    assert served.ask("/setting")[0] == 200


def test_a_rate_limit_lets_through_what_it_says() -> None:
    now_s = 0.0
    limit = RateLimit(10, 5, clock=lambda: now_s)
    passed = 0
    for step in range(1000):
        now_s = step * 0.01
        passed += limit.takes()
    assert passed == pytest.approx(5 + 10 * 10, abs=1)


def test_a_stream_tells_what_was_and_what_changes(served: Served) -> None:
    served.hub.publish("track/ue1", {"t": 0.1})
    stream = served.watch()
    assert stream.getheader("content-type") == "text/event-stream; charset=utf-8"
    assert event_of(stream) == ("history", {"track/ue1": [{"t": 0.1}]})
    served.hub.publish("track/ue1", {"t": 0.2})
    kind, content = event_of(stream)
    assert (kind, content["changes"]) == ("update", {"track/ue1": {"t": 0.2}})


def test_a_stream_has_at_most_thirty_updates_a_second(served: Served) -> None:
    stream = served.watch()
    event_of(stream)
    started, updates, dropped = time.monotonic(), 0, 0
    while time.monotonic() - started < 0.5:
        served.hub.publish("run", {"t": time.monotonic()})
        time.sleep(0.001)
    passed_s = time.monotonic() - started
    served.hub.publish("last", {"t": 0})
    while True:
        _, content = event_of(stream)
        updates, dropped = updates + 1, content["dropped"]
        if "last" in content["changes"]:
            break
    assert 2 <= updates <= passed_s * 30 + 2
    assert dropped > 20


def test_several_viewers_see_the_same_and_one_too_many_is_told(served: Served) -> None:
    streams = [served.watch() for _ in range(3)]
    for stream in streams:
        event_of(stream)
    served.hub.publish("run", {"t": 1})
    assert [event_of(stream)[1]["changes"] for stream in streams] == [{"run": {"t": 1}}] * 3
    assert served.ask("/stream")[0] == 503
    served.hang_up()
    deadline_s = time.monotonic() + 10
    while served.hub.viewers:
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    stream = served.watch()
    assert stream.status == 200


def test_a_viewer_who_does_not_listen_holds_up_nobody(served: Served) -> None:
    served.watch()
    listening = served.watch()
    event_of(listening)
    padding = "x" * 100_000
    started = time.monotonic()
    longest_s = 0.0
    for number in range(300):
        before = time.monotonic()
        served.hub.publish(f"key{number % 3}", {"t": number, "padding": padding})
        longest_s = max(longest_s, time.monotonic() - before)
        time.sleep(0.002)
    assert longest_s < 0.25
    served.hub.publish("last", {"t": 0})
    while "last" not in event_of(listening)[1]["changes"]:
        pass
    assert time.monotonic() - started < 15


def test_it_closes_at_once_with_viewers_there() -> None:
    served = Served()
    with served.server:
        stream = served.watch()
        event_of(stream)
        started = time.monotonic()
    assert time.monotonic() - started < 2
    served.hang_up()


def test_a_recording_takes_no_commands() -> None:
    server = LiveServer(Programme(SCENARIO, recording={"series": {}}))
    served = Served()
    served.server = server
    with server:
        assert json.loads(served.ask("/recording")[2]) == {"series": {}}
        assert json.loads(served.ask("/setting")[2])["mode"] == "recorded"
        assert served.ask("/control", "POST", {"do": "pause"})[0] == 404
        assert served.ask("/stream")[0] == 404


def test_a_taken_port_is_a_users_mistake() -> None:
    with (
        Served().server as first,
        pytest.raises(UserError, match=f"--port {first.port}: Address already in use"),
    ):
        LiveServer(Programme(SCENARIO), first.port).__enter__()


def test_the_bundle_is_of_these_sources() -> None:
    import importlib.util

    spec = importlib.util.spec_from_file_location("digest", PAGE.parent / "digest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    stored = (PAGE / "sources.sha256").read_text().strip()
    assert module.digest() == stored, "run scripts/bundle_page"
