"""The page in a real browser, headless: what it shows, what it does, and that nothing leaves the machine."""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread
from time import sleep
from typing import Any

import pytest

from sim.live import Conductor, Hub, LiveServer, Programme, recording_of
from sim.live.control import Command
from sim.live.server import PAGE
from sim.run_folder import RunFolder
from sim.scenario import load_scenario
from tests.sim.kit import run_quietly, scenario_of
from tests.sim.live.browsing import NEEDS, PATIENCE_MS, Tabs, expect, shot, shows

pytestmark = NEEDS
LONG = {
    "name": "watched",
    "description": "A walk that is watched.",
    "duration": "1200 s",
    "deployment": "munich6",
    "faults": [{"at": "0.5 s", "kind": "capacity", "link": "bs5", "to": "100 kbit/s"}],
}


class Watched:
    """A run that goes on in a thread, with a page."""

    def __init__(self, path: Path, changes: dict[str, Any]) -> None:
        self.scenario = scenario_of(LONG | changes)
        self.hub = Hub()
        self.conductor = Conductor(self.scenario, self.hub)
        programme = Programme(self.scenario, hub=self.hub, submit=self.conductor.submit)
        self.server = LiveServer(programme)
        self.path = path
        self._stopping = False
        self._run = Thread(target=self._go)

    def _go(self) -> None:
        def stop(t_ns: int) -> None:
            if self._stopping:
                raise KeyboardInterrupt

        with suppress(KeyboardInterrupt):
            run_quietly(self.scenario, self.path, watch=self.conductor, progress=stop)

    def __enter__(self) -> "Watched":
        self.server.__enter__()
        self._run.start()
        while not self.faults:  # its sockets are its own, not those of a test
            sleep(0.02)
        return self

    def as_at_first(self) -> None:
        """Undo what another test may have left."""
        for command in (Command("resume"), Command("speed", to=1.0)):
            self.conductor.submit(command)
        down = {target for kind, target in self.faults if kind == "bs_down"}
        for bs in down:
            self.conductor.submit(Command("bs_up", bs))

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        self.conductor.submit(Command("resume"))
        self._run.join()
        self.server.__exit__(None, None, None)

    @property
    def faults(self) -> list[tuple[str, str]]:
        """What has failed so far, as the hub knows it: kind and target."""
        with self.hub.view() as view:
            last = view.history.get("faults", [{"entries": []}])[-1]
        return [(entry["kind"], entry["target"]) for entry in last["entries"]]


@pytest.fixture(scope="module")
def going(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with Watched(tmp_path_factory.mktemp("watched") / "run", {}) as run:
        yield run


@pytest.fixture
def watched(going: Watched) -> Watched:
    going.as_at_first()
    return going


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LiveServer, dict[str, Any]]]:
    path = tmp_path_factory.mktemp("recorded") / "run"
    changes = LONG | {
        "duration": "3 s",
        "faults": [{"at": "1 s", "kind": "bs_down", "bs": "bs3", "for": "1 s"}],
    }
    summary = run_quietly(changes, path).summary
    folder = RunFolder.open(path)
    scenario = load_scenario(folder.scenario_path)
    with LiveServer(Programme(scenario, recording=recording_of(folder, scenario))) as server:
        yield server, summary


def test_a_run_is_seen_as_it_goes(watched: Watched, tabs: Tabs, tmp_path: Path) -> None:
    page = tabs.open(watched.server.url, webgl=True)
    shows(page, "#name", "^watched$")
    shows(page, "#state", "^running$")
    shows(page, "#stations", "^6bs1, bs2, bs3, bs4, bs5, bs6$")
    shows(page, "#track-error", r"^0\.\d\d m90 % within \d")
    shows(page, "#latency", r"^\d+ ms")
    shows(page, "#attribution", "OpenStreetMap contributors")
    shows(page, "#table tr:has(th:text('bs5')) td[data-name=capacity]", "^100 kbit/s$")
    assert page.locator("#scene").get_attribute("data-view") == "space"
    assert page.locator("#plots .uplot").count() == 6
    first = page.locator("#clock").inner_text()
    expect(page.locator("#clock")).not_to_have_text(first)
    shot(page, tmp_path, "live")


def test_a_click_takes_a_base_station_down_and_up(watched: Watched, tabs: Tabs) -> None:
    page = tabs.open(watched.server.url)
    page.get_by_role("button", name="Take bs3 down").click()
    shows(page, "#stations", "^5bs1, bs2, bs4, bs5, bs6$")
    shows(page, "#faults li:first-child", "bs3 is down$")
    assert watched.faults[-1] == ("bs_down", "bs3")
    shows(page, "#table tr:has(th:text('bs3')) td[data-name=state]", "^BS down$")
    page.get_by_role("button", name="Bring bs3 up").click()
    shows(page, "#stations", "^6")
    assert watched.faults[-1] == ("bs_up", "bs3")


def test_the_keyboard_alone_does_it_too(watched: Watched, tabs: Tabs) -> None:
    page = tabs.open(watched.server.url, webgl=True)
    shows(page, "#stations", "^6")
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "Take bs4 down":
            break
    page.keyboard.press("Enter")
    shows(page, "#stations", "^5bs1, bs2, bs3, bs5, bs6$")
    page.keyboard.press("Enter")
    shows(page, "#stations", "^6")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press(" ")
    shows(page, "#state", "^paused$")
    page.keyboard.press(" ")
    shows(page, "#state", "^running$")
    page.keyboard.press("m")
    assert page.locator("#scene").get_attribute("data-view") == "flat"
    page.keyboard.press("m")
    page.locator("#scene canvas").focus()
    for key in ("ArrowLeft", "ArrowUp", "+", "-", "Home", "f"):
        page.keyboard.press(key)
    assert page.locator("#follow").get_attribute("aria-pressed") == "true"


def test_the_skip_link_leads_to_the_base_stations_and_keeps_the_token(watched: Watched, tabs: Tabs) -> None:
    page = tabs.open(watched.server.url)
    shows(page, "#stations", "^6")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#links")).to_be_focused()
    assert page.url == watched.server.url
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Take bs1 down"


def test_links_are_throttled_and_the_pace_is_set(watched: Watched, tabs: Tabs) -> None:
    page = tabs.open(watched.server.url)
    page.get_by_label("Capacity of link bs2").select_option("100 kbit/s")
    shows(page, "#table tr:has(th:text('bs2')) td[data-name=capacity]", "^100 kbit/s$")
    page.get_by_label("Capacity of link bs2").select_option("cut")
    shows(page, "#table tr:has(th:text('bs2')) td[data-name=state]", "^link cut$")
    page.get_by_label("Capacity of link bs2").select_option("other…")
    page.keyboard.type("some")
    page.keyboard.press("Enter")
    words = page.get_by_label("Other capacity, with its unit, of bs2")
    expect(words).to_have_attribute("aria-invalid", "true")
    shows(page, "#said", "^Not a capacity: a number above 0 with its unit, such as 250 kbit/s")
    words.fill("0.3 Mbit/s")
    page.keyboard.press("Enter")
    shows(page, "#table tr:has(th:text('bs2')) td[data-name=capacity]", "^300 kbit/s$")
    page.get_by_label("Capacity of link bs2").select_option("as in the scenario")
    shows(page, "#table tr:has(th:text('bs2')) td[data-name=state]", "^up$")
    shows(page, "#table tr:has(th:text('bs2')) td[data-name=capacity]", "^10 Mbit/s$")
    page.get_by_label("Speed").select_option("0.5")
    other = tabs.open(watched.server.url)
    expect(other.locator("#speed")).to_have_value("0.5", timeout=PATIENCE_MS)
    page.get_by_label("Speed").select_option("1")
    expect(other.locator("#speed")).to_have_value("1", timeout=PATIENCE_MS)


def test_a_choice_shows_what_holds_also_while_it_has_the_focus(tabs: Tabs) -> None:
    hub, taken = Hub(), list[Command]()

    def tell(t: float, capacity: float) -> None:
        link = {"load": 0.0, "queue": 0, "up": True, "sent": 0, "delivered": 0, "dropped": 0, "causes": {}}
        hub.publish("link/bs2", {**link, "t": t, "capacity": capacity})

    def submit(command: Command) -> bool:
        taken.append(command)
        return True

    hub.publish("run", {"t": 0.0, "state": "running", "speed": 1.0})
    with LiveServer(Programme(scenario_of(LONG), hub=hub, submit=submit)) as server:
        page = tabs.open(server.url)
        choice = page.get_by_label("Capacity of link bs2")
        shown = choice.locator("option:checked")
        choice.select_option("other…")
        page.keyboard.press("Escape")
        expect(choice).to_be_focused()
        assert shown.inner_text() == "as in the scenario"
        choice.select_option("other…")
        page.keyboard.type("250 kbit/s")
        page.keyboard.press("Enter")
        expect(choice).to_be_focused()
        assert shown.inner_text() == "250 kbit/s"
        offered = choice.locator("option").count()
        for n in range(40):
            tell(0.1 * n, 70e3 + 1e3 * n)
            page.wait_for_timeout(100)
        expect(shown).to_have_text("109 kbit/s", timeout=PATIENCE_MS)
        assert choice.locator("option").count() == offered
        expect(choice).to_be_focused()
        assert taken == [Command("throttle", "bs2", 250e3)]
        tabs.contexts[-1].close()


def test_a_link_whose_capacity_varies_is_as_in_the_scenario(tabs: Tabs) -> None:
    trace = [["0 s", "2 Mbit/s"], ["1 s", "300 kbit/s"]]
    scenario, hub = scenario_of(LONG | {"fronthaul": {"default": {"capacity": trace}}}), Hub()
    link = {"load": 0.0, "queue": 0, "up": True, "sent": 0, "delivered": 0, "dropped": 0, "causes": {}}
    hub.publish("run", {"t": 2.0, "state": "running", "speed": 1.0})
    with LiveServer(Programme(scenario, hub=hub, submit=lambda _: True)) as server:
        page = tabs.open(server.url)
        row = "#table tr:has(th:text('bs2')) td[data-name=capacity]"
        shows(page, row, r"^2 Mbit/s$")
        hub.publish("link/bs2", {**link, "t": 2.0, "capacity": 300_000})
        shows(page, row, r"^300 kbit/s$")
        choice = page.get_by_label("Capacity of link bs2")
        assert choice.locator("option:checked").inner_text() == "as in the scenario"
        tabs.contexts[-1].close()


def test_a_run_that_has_ended_is_played_at_the_speed_that_is_shown(tabs: Tabs) -> None:
    hub = Hub()
    hub.publish("run", {"t": 1000.0, "state": "running", "speed": 1.0})
    with LiveServer(Programme(scenario_of(LONG), hub=hub, submit=lambda _: True)) as server:
        page = tabs.open(server.url)
        speed = page.get_by_label("Speed")
        speed.focus()
        hub.publish("run", {"t": 1000.1, "state": "running", "speed": 50.0})
        expect(speed).to_have_value("50", timeout=PATIENCE_MS)
        hub.publish("run", {"t": 1000.2, "state": "ended", "speed": 50.0})
        shows(page, "#state", "^ended$")
        page.get_by_label("Time").evaluate(
            "node => { node.value = 0; node.dispatchEvent(new Event('input')); }"
        )
        shows(page, "#clock", "^00:00$")
        page.get_by_role("button", name="Play").click()
        page.wait_for_timeout(2500)
        page.get_by_role("button", name="Pause").click()
        minutes, seconds = page.locator("#clock").inner_text().split(":")
        assert 60 * int(minutes) + int(seconds) > 50
        tabs.contexts[-1].close()


def test_a_run_that_ends_early_is_shown_up_to_its_end(tabs: Tabs) -> None:
    hub = Hub()
    hub.publish("run", {"t": 20.0, "state": "ended", "speed": 1.0})
    with LiveServer(Programme(scenario_of(LONG), hub=hub)) as server:
        page = tabs.open(server.url)
        shows(page, "#state", "^ended$")
        shows(page, "#clock", r"^20\.0 s$")
        page.wait_for_timeout(500)
        page.locator("#plots .u-over").first.click()
        shows(page, "#clock", r"^(9|10)\.\d s$")
        tabs.contexts[-1].close()


def test_several_viewers_see_the_same(watched: Watched, tabs: Tabs) -> None:
    pages = [tabs.open(watched.server.url) for _ in range(3)]
    pages[0].get_by_role("button", name="Pause").click()
    for page in pages:
        shows(page, "#state", "^paused$")
    for _ in range(100):  # a page that is busy tells the state before it draws
        clocks = {page.locator("#clock").inner_text() for page in pages}
        if len(clocks) == 1:
            break
        pages[0].wait_for_timeout(100)
    assert len(clocks) == 1
    pages[2].get_by_role("button", name="Go on").click()
    for page in pages:
        shows(page, "#state", "^running$")


@pytest.mark.parametrize("fragment", ["", "#wrong"])
def test_without_the_token_there_is_nothing_to_see(watched: Watched, browser: Any, fragment: str) -> None:
    tabs = Tabs(browser)  # the browser complains of the refusal, as it should
    page = tabs.open(watched.server.url.partition("#")[0] + fragment)
    shows(page, "#problem", "terminal printed")
    assert not page.locator("main").is_visible()
    tabs.contexts[0].close()


def test_who_finds_no_room_is_told_so(browser: Any) -> None:
    tabs = Tabs(browser)  # the browser complains of the refusal, as it should
    with LiveServer(Programme(scenario_of(LONG), hub=Hub(max_viewers=1))) as server:
        first = tabs.open(server.url)
        shows(first, "#state", "^preparing$")
        second = tabs.open(server.url)
        shows(second, "#state", "^1 viewers are there already$")
        first.close()
        shows(second, "#state", "^preparing$")
        third = tabs.open("about:blank")
        third.route("**/setting", lambda route: route.fulfill(status=503, body="Service Unavailable"))
        third.goto(server.url)
        shows(third, "#problem", "^The run does not answer: Service Unavailable$")
        for context in tabs.contexts:
            context.close()


def test_a_run_that_falls_silent_is_lost_and_found_again(tabs: Tabs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sim.live.server.BREATH_EVERY_S", 1e9)  # as a server that hangs
    hub = Hub()
    hub.publish("run", {"t": 1.0, "state": "running", "speed": 1.0})
    with LiveServer(Programme(scenario_of(LONG), hub=hub)) as server:
        page = tabs.open(server.url)
        shows(page, "#state", "^running$")
        page.locator("#state").evaluate(
            "node => new MutationObserver(() => (node.title += `${node.textContent}, `))"
            ".observe(node, { childList: true })"
        )
        expect(page.locator("#state")).to_have_attribute(
            "title", "connection lost, running, ", timeout=PATIENCE_MS
        )
        tabs.contexts[-1].close()


def test_a_foreign_page_gets_nothing_in_and_nothing_out(watched: Watched, browser: Any) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.route(
        "http://evil.example/", lambda route: route.fulfill(body="<p>evil</p>", content_type="text/html")
    )
    page.goto("http://evil.example/")
    before = watched.faults
    base, token = watched.server.url.split("#")
    got = page.evaluate(
        """async ([base, token]) => {
          const command = JSON.stringify({do: "bs_down", target: "bs6"});
          const attempts = [
            [base + "setting", {headers: {authorization: `Bearer ${token}`}}],
            [base + "control", {method: "POST", body: command, headers: {
              authorization: `Bearer ${token}`, "content-type": "application/json"}}],
            [base + "control", {method: "POST", body: command, mode: "no-cors"}],
            [base + "stream", {}],
          ];
          const outcomes = [];
          for (const [url, options] of attempts) {
            const fetched = fetch(url, options).then((response) => response.text());
            outcomes.push(await fetched.catch(() => "failed"));
          }
          return outcomes;
        }""",
        [base, token],
    )
    assert [text or "failed" for text in got] == ["failed"] * 4
    assert watched.faults == before
    context.close()


def test_letters_are_commands_only_where_nothing_is_typed(watched: Watched, tabs: Tabs) -> None:
    page = tabs.open(watched.server.url, webgl=True)
    shows(page, "#stations", "^6")
    page.get_by_label("Capacity of link bs6").select_option("other…")
    page.keyboard.type("1 mbit/s of")
    words = page.get_by_label("Other capacity, with its unit, of bs6")
    expect(words).to_have_value("1 mbit/s of")
    assert page.locator("#scene").get_attribute("data-view") == "space"
    assert page.locator("#follow").get_attribute("aria-pressed") == "false"
    page.keyboard.press("Escape")
    page.get_by_role("checkbox", name="Keys").uncheck()
    page.get_by_role("button", name="Pause").focus()
    page.keyboard.press("m")
    assert page.locator("#scene").get_attribute("data-view") == "space"
    page.get_by_role("checkbox", name="Keys").check()
    page.keyboard.press("m")
    assert page.locator("#scene").get_attribute("data-view") == "flat"


def test_who_goes_to_the_map_and_back_at_once_sees_the_city(watched: Watched, tabs: Tabs) -> None:
    page = tabs.open(watched.server.url, webgl=True)
    shows(page, "#stations", "^6")
    press = (
        "(m) => document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'm', bubbles: true, ...m}))"
    )
    page.evaluate(f"() => [{{}}, {{}}].forEach({press})")
    page.wait_for_timeout(1500)  # until the context that is gone says so
    assert page.locator("#scene").get_attribute("data-view") == "space"
    page.evaluate(press, {"repeat": True})
    assert page.locator("#scene").get_attribute("data-view") == "space", "a key that is held is pressed once"


@pytest.mark.parametrize("size", [(1400, 900), (390, 844), (350, 225)])
def test_what_has_the_focus_is_not_under_the_bar(watched: Watched, tabs: Tabs, size: tuple[int, int]) -> None:
    page = tabs.open(watched.server.url, viewport={"width": size[0], "height": size[1]})
    shows(page, "#stations", "^6")
    page.get_by_role("link", name="Licences").focus()
    for _ in range(16):
        page.keyboard.press("Shift+Tab")
        assert page.evaluate(UNCOVERED), page.evaluate("document.activeElement.outerHTML")


UNCOVERED = """
() => {
  const [here, bar] = [document.activeElement, document.querySelector(".bar")];
  const covered = getComputedStyle(bar).position === "sticky" ? bar.getBoundingClientRect().bottom : 0;
  const box = here.getBoundingClientRect();
  return bar.contains(here) || box.bottom > covered + 20 && (box.top >= covered || box.height > 200);
}
"""


def test_a_site_at_the_edge_says_all_of_what_is_wrong(tabs: Tabs) -> None:
    hub = Hub()
    hub.publish("run", {"t": 1.0, "state": "running", "speed": 1.0})
    hub.publish("faults", {"t": 0.5, "entries": [], "down": ["bs3"], "lost": []})
    with LiveServer(Programme(scenario_of(LONG), hub=hub)) as server:
        page = tabs.open(server.url, webgl=True, viewport={"width": 390, "height": 844})
        label, scene = page.locator(".label.out"), page.locator("#scene")
        expect(label).to_have_text("bs3 ✕ down", timeout=PATIENCE_MS)
        page.wait_for_timeout(1000)
        shown, room = label.bounding_box(), scene.bounding_box()
        assert shown["x"] + shown["width"] <= room["x"] + room["width"]
        tabs.contexts[-1].close()


def test_what_fails_is_announced_and_the_time_is_not(watched: Watched, tabs: Tabs) -> None:
    page = tabs.open(watched.server.url)
    shows(page, "#stations", "^6")
    assert page.locator("#news").inner_text() == ""
    page.get_by_role("button", name="Take bs2 down").click()
    shows(page, "#news", "^bs2 is down$")
    page.get_by_role("button", name="Bring bs2 up").click()
    shows(page, "#news", "^bs2 is back$")
    live = page.evaluate(
        "[...document.querySelectorAll('[role=status], [aria-live], output')].map((n) => n.id)"
    )
    assert live == ["state", "lost", "said", "news"]
    shows(page, "#lost-frames", r"^\d+of \d+: \d+ bs down")


def test_without_webgl_there_is_a_map(watched: Watched, tabs: Tabs, tmp_path: Path) -> None:
    page = tabs.open(watched.server.url)
    shows(page, "#stations", "^6")
    assert page.locator("#scene").get_attribute("data-view") == "flat"
    assert page.locator("#flat").is_disabled()
    shot(page, tmp_path, "map")


def test_a_run_that_has_not_begun_is_being_prepared(tabs: Tabs) -> None:
    scenario, hub, taken = scenario_of(LONG), Hub(), list[Command]()

    def submit(command: Command) -> bool:
        taken.append(command)
        return True

    with LiveServer(Programme(scenario, hub=hub, submit=submit)) as server:
        page = tabs.open(server.url)
        shows(page, "#state", "^preparing$")
        page.get_by_role("button", name="Pause").click()
        shows(page, "#said", "^Will be done when the run starts.$")
        assert taken == [Command("pause")]
        hub.publish("run", {"t": 0.0, "state": "paused", "speed": 1.0})
        shows(page, "#state", "^paused$")
        shows(page, "#said", "^$")
        tabs.contexts[-1].close()


def test_what_is_reported_late_is_drawn_where_it_belongs(tabs: Tabs) -> None:
    """The track of a miss that is known seconds later is not what holds now."""
    scenario, hub = scenario_of(LONG), Hub()
    track = {"p": [0.0, 0.0, 0.0], "c": [1.0, 0.0, 0.0, 1.0, 0.0, 1.0], "coasting": False}
    fix = {"p": [0.0, 0.0, 0.0], "c": [1.0, 0.0, 0.0, 1.0, 0.0, 1.0], "bs": ["bs1"], "age": 0.1}
    hub.publish("run", {"t": 6.0, "state": "running", "speed": 1.0})
    for t in (0.1, 0.2, 0.3, 0.5, 3.0, 3.1, 0.4):
        hub.publish("track/ue1", {**track, "t": t, "s": t, "e": t})
        hub.publish("fix/ue1", {**fix, "t": t, "s": t, "e": t})
    with LiveServer(Programme(scenario, hub=hub)) as server:
        page = tabs.open(server.url)
        shows(page, "#track-error", r"^3\.10 m")
        for t in (3.2, 2.9):
            hub.publish("track/ue1", {**track, "t": t, "s": t, "e": t})
            shows(page, "#track-error", r"^3\.[12]0 m")
            page.wait_for_timeout(200)
        shows(page, "#track-error", r"^3\.20 m")
        tabs.contexts[-1].close()


def test_the_error_is_drawn_in_order_of_time_and_not_across_a_gap(tabs: Tabs) -> None:
    page = tabs.open("about:blank")
    module = "\n".join((PAGE.parent / "src" / name).read_text() for name in ("store.js", "plots.js"))
    module = re.sub(r"^import .*$", "", module, flags=re.MULTILINE)
    times, errors = page.evaluate(PLOTTED, f"const radius90 = () => 1;\n{module}")
    assert times == [0.1, 0.2, 0.3, 0.4, 0.5, 1.7, 2.9, 3.0]
    assert errors == [0.1, 0.2, 0.3, 0.4, 0.5, None, 2.9, 3.0]


def test_of_a_long_run_the_errors_of_fixes_are_those_of_the_tracks_drawn(tabs: Tabs) -> None:
    page = tabs.open("about:blank")
    module = "\n".join((PAGE.parent / "src" / name).read_text() for name in ("store.js", "plots.js"))
    module = re.sub(r"^import .*$", "", module, flags=re.MULTILINE)
    drawn, fixed, last = page.evaluate(PLOTTED_LONG, f"const radius90 = () => 1;\n{module}")
    assert 1000 < drawn <= 1501
    assert fixed == pytest.approx(5 / 7 * drawn, rel=0.02)
    assert last == 599.9


def test_who_comes_again_still_knows_what_was_before(tabs: Tabs) -> None:
    page = tabs.open("about:blank")
    module = (PAGE.parent / "src" / "store.js").read_text()
    assert page.evaluate(COME_AGAIN, module) == [[1, 2, 3, 4], [2], [2, 7]]


def test_the_line_of_a_long_way_does_not_waver(tabs: Tabs) -> None:
    page = tabs.open("about:blank")
    module = (PAGE.parent / "src" / "store.js").read_text()
    one, other, short, none = page.evaluate(TRAILS, module)
    assert one == [0, 8, 16, 24, 32, 40, 48, 56, 61]
    assert other == [0, 8, 16, 24, 32, 40, 48, 56, 62]
    assert (short, none) == ([0, 1, 2], [])


TRAILS = """
async (module) => {
  const { Store } = await import(URL.createObjectURL(new Blob([module], { type: "text/javascript" })));
  const store = new Store();
  store.load({ "truth/ue1": Array.from({ length: 100 }, (_, n) => ({ t: n, p: [n] })) });
  return [61, 62, 2, -1].map((t) => store.trail("truth/ue1", t, 10));
}
"""
COME_AGAIN = """
async (module) => {
  const { Store } = await import(URL.createObjectURL(new Blob([module], { type: "text/javascript" })));
  const store = new Store();
  const values = (...times) => times.map((t) => ({ t }));
  store.load({ "fix/ue1": values(1, 2), "fix/ue2": values(2), run: values(2) });
  store.add("run", { t: 7 });
  store.load({ "fix/ue1": values(3, 4, 2), "fix/ue2": [], run: values(7) });
  return ["fix/ue1", "fix/ue2", "run"].map((key) => store.of(key).map(({ t }) => t));
}
"""
PLOTTED_LONG = """
async (module) => {
  const { Plots, Store } = await import(URL.createObjectURL(new Blob([module], { type: "text/javascript" })));
  const store = new Store();
  const tracks = Array.from({ length: 6000 }, (_, n) => ({ t: n / 10, s: n / 10, e: 1, c: [] }));
  store.load({ "track/ue1": tracks, "fix/ue1": tracks.filter((_, n) => n % 7 > 1) });
  const plots = Object.assign(Object.create(Plots.prototype), { hasAll: true, setting: { duration_s: 600 } });
  const [times, fixes] = plots.errors(store, "ue1");
  return [times.length, fixes.filter((e) => e !== null).length, times.at(-1)];
}
"""
PLOTTED = """
async (module) => {
  const { Plots, Store } = await import(URL.createObjectURL(new Blob([module], { type: "text/javascript" })));
  const store = new Store();
  const value = (t) => ({ t, s: t, e: t, c: [] });
  store.load({ "fix/ue1": [value(0.1)], "track/ue1": [0.1, 0.3, 0.2].map(value) });
  for (const t of [0.5, 3.0, 0.4, 2.9]) store.add("track/ue1", value(t));
  const plots = { part: (there, key) => there.of(key) };
  const [times, , errors] = Plots.prototype.errors.call(plots, store, "ue1");
  return [times.map((t) => Number(t.toFixed(2))), errors];
}
"""


def test_a_finished_run_has_a_slider(
    recorded: tuple[LiveServer, dict[str, Any]], tabs: Tabs, tmp_path: Path
) -> None:
    server, summary = recorded
    page = tabs.open(server.url, webgl=True)
    shows(page, "#state", "^recorded$")
    shows(page, "#fixes", f"^{summary['fixes']}{summary['fixes_missed']} missed$")
    shows(page, "#fix-error", f"mean so far {summary['fix_error_3d_mean_m']:.2f} m$")
    assert page.get_by_role("button", name=re.compile("Take")).count() == 0
    slider = page.get_by_label("Time")
    slider.focus()
    slider.evaluate("node => { node.value = 1.5; node.dispatchEvent(new Event('input')); }")
    shows(page, "#clock", r"^1\.5 s$")
    page.keyboard.press(" ")
    shows(page, "#state", "^playing$")
    page.keyboard.press(" ")
    shows(page, "#state", "^recorded$")
    slider.evaluate("node => { node.value = 1.5; node.dispatchEvent(new Event('input')); }")
    shows(page, "#clock", r"^1\.5 s$")
    assert page.locator("#faults li").all_inner_texts() == ["2.0 s bs3 is back", "1.0 s bs3 is down"]
    assert page.locator("#faults .ahead").inner_text() == "2.0 s bs3 is back"
    shows(page, "#stations", "^5bs1, bs2, bs4, bs5, bs6$")
    page.get_by_label("Speed").select_option("5")
    page.get_by_role("button", name="Play").click()
    shows(page, "#clock", r"^3\.0 s$")
    shows(page, "#stations", "^6")
    shot(page, tmp_path, "recorded")
    sent = page.locator("#table tr:has(th:text('bs1')) td[data-name=sent]")
    assert sent.inner_text() == str(summary["links"]["bs1"]["sent"])
    slider.focus()
    page.keyboard.press("Home")
    shows(page, "#clock", r"^0\.0 s$")
    assert sent.inner_text() == "0", "at the beginning nothing was sent"


def test_it_fits_and_can_be_read(
    recorded: tuple[LiveServer, dict[str, Any]], tabs: Tabs, tmp_path: Path
) -> None:
    page = tabs.open(recorded[0].url, webgl=True)
    shows(page, "#state", "^recorded$")
    for name, width, height in (("phone", 360, 740), ("desk", 1400, 900)):
        page.set_viewport_size({"width": width, "height": height})
        for colours in ("light", "dark"):
            page.emulate_media(color_scheme=colours)
            page.wait_for_function(  # plots follow
                "width => document.documentElement.scrollWidth <= width", arg=width, timeout=PATIENCE_MS
            )
            page.wait_for_timeout(500)
            contrasts = page.evaluate(CONTRASTS)
            assert len(contrasts) > 40
            assert {text: found for text, found in contrasts if found < 4.5} == {}
            assert {mark: found for mark, found in page.evaluate(MARKS) if found < 3.0} == {}
            shot(page, tmp_path, f"{name}-{colours}")
    page.emulate_media(forced_colors="active")
    colours_of_keys = page.evaluate(
        "[...document.querySelectorAll('.legend li:not([hidden]) .key')].map((node) => {"
        "const style = getComputedStyle(node);"
        "return style.borderTopWidth === '0px' ? style.backgroundColor : style.borderTopColor; })"
    )
    assert len(set(colours_of_keys)) >= 4, "a legend in one colour says nothing"
    shot(page, tmp_path, "forced-colours")


def test_long_names_and_many_causes_leave_room_for_the_controls(tabs: Tabs) -> None:
    name = "the-segment-behind-the-second-largest-of-all-roofs-in-the-town"
    line = {"kind": "line", "from": ["0 m", "0 m", "1 m"], "to": ["9 m", "0 m", "1 m"], "speed": "1 m/s"}
    changes = {
        "ues": {f"{name}-{n}": {"trajectory": line, "rate": "1 Hz"} for n in (1, 2)},
        "fronthaul": {"shared": {name: {"capacity": "1 Gbit/s", "members": ["bs1", "bs2"]}}},
    }
    scenario, hub = scenario_of(LONG | changes), Hub()
    causes = {"queue_full": 100_000, "loss": 23_000, "superseded": 456}
    link = {
        "load": 0.5,
        "queue": 0,
        "up": True,
        "sent": 0,
        "delivered": 0,
        "dropped": 123_456,
        "causes": causes,
    }
    hub.publish("run", {"t": 1.0, "state": "running", "speed": 1.0})
    for segment in (*scenario.bs_ids, name):
        hub.publish(f"link/{segment}", {**link, "t": 1.0, "capacity": 1e7})
    with LiveServer(Programme(scenario, hub=hub, submit=lambda _: True)) as server:
        page = tabs.open(server.url)
        shows(page, "#table tr:has(th:text('bs2')) td[data-name=dropped]", "^123456: 100000 queue full")
        for width in (1400, 390, 320):
            page.set_viewport_size({"width": width, "height": 800})
            page.wait_for_function(  # plots follow
                "width => document.documentElement.scrollWidth <= width", arg=width, timeout=20_000
            )
            box = page.get_by_label("Capacity of link bs2").bounding_box()
            assert box["x"] + box["width"] <= width
        tabs.contexts[-1].close()


LIGHT = """
  const pen = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    pen.clearRect(0, 0, 1, 1);
    pen.fillStyle = colour;
    pen.fillRect(0, 0, 1, 1);
    return [...pen.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => {
    const linear = [r, g, b].map((v) => ((v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const contrast = (front, back) => {
    const [one, other] = [light(rgba(front)), light(rgba(back))];
    return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
  };
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const colour = getComputedStyle(node).backgroundColor;
      if (rgba(colour)[3] > 250) return colour;
    }
    return "white";
  };
"""
CONTRASTS = (
    "() => {"
    + LIGHT
    + """
  const found = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    const box = node.getBoundingClientRect();
    if (!own || box.width < 2 || node.closest("#scene, [hidden], :disabled")) continue;
    const text = `${node.tagName} ${node.textContent.slice(0, 30)}`;
    found.push([text, contrast(getComputedStyle(node).color, behind(node))]);
  }
  return found;
}
"""
)
MARKS = (
    "() => {"
    + LIGHT
    + """
  const found = [];
  for (const node of document.querySelectorAll(".key, .swatch, .u-marker, .bar button, select, .meter i")) {
    const style = getComputedStyle(node);
    const isFilled = style.borderTopWidth === "0px";
    const colour = isFilled ? style.backgroundColor : style.borderTopColor;
    const ground = behind(node.parentElement);
    if (rgba(colour)[3] > 0) found.push([`${node.className} ${colour}`, contrast(colour, ground)]);
  }
  const style = getComputedStyle(document.documentElement);
  for (const mark of ["truth", "track", "fix", "idle", "site"]) {
    for (const ground of ["soil", "block"]) {
      const [front, back] = [mark, ground].map((name) => style.getPropertyValue(`--${name}`));
      found.push([`${mark} on ${ground}`, contrast(front, back)]);
    }
  }
  return found;
}
"""
)
