"""Pages in a real browser, headless: nothing that they ask for may leave the machine."""

import os
import re
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

expect: Any = pytest.importorskip("playwright.sync_api", reason="needs playwright").expect

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
NEEDS = [
    pytest.mark.browser,
    pytest.mark.timeout(300),
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (Debian: apt install chromium)"),
]
PATIENCE_MS = 90_000
"""For a machine that is busy with something else."""
ARTEFACTS = os.environ.get("FRONTHAUL_ARTEFACTS")
"""A folder for screenshots; without it they go to pytest's own."""


NO_WEBGL = """
const get = HTMLCanvasElement.prototype.getContext;
HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
  return kind.startsWith("webgl") ? null : get.call(this, kind, ...rest);
};
"""


class Tabs:
    """Opens pages in fresh profiles; any request that leaves the loopback, and any complaint, is kept."""

    def __init__(self, browser: Any) -> None:
        self.browser = browser
        self.contexts: list[Any] = []
        self.wrong: list[str] = []

    def open(self, url: str, *, webgl: bool = False, **options: Any) -> Any:
        """A page in a profile of its own; without WebGL it is there sooner, and draws a map."""
        context = self.browser.new_context(**{"viewport": {"width": 1000, "height": 700}, **options})
        self.contexts.append(context)
        page = context.new_page()
        page.on("request", self._requested)
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("console", self._said)
        if not webgl:
            page.add_init_script(NO_WEBGL)
        page.goto(url)
        return page

    def _said(self, said: Any) -> None:
        if said.type == "error" and "WebGL" not in said.text:  # three.js says that there is none
            self.wrong.append(said.text)

    def _requested(self, request: Any) -> None:
        url = urlsplit(request.url)
        if url.scheme not in ("data", "blob") and url.hostname != "127.0.0.1":
            self.wrong.append(f"asked for {request.url}")


def shows(page: Any, selector: str, pattern: str) -> None:
    """Wait until an element's text matches."""
    expect(page.locator(selector)).to_have_text(re.compile(pattern), timeout=PATIENCE_MS)


def shot(page: Any, tmp_path: Path, name: str) -> None:
    folder = Path(ARTEFACTS) if ARTEFACTS else tmp_path
    folder.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=folder / f"{name}.png", full_page=True)
