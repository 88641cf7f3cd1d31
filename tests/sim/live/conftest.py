"""One browser for all tests of the page, and a fresh profile for each."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.sim.live.browsing import Tabs


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    from tests.sim.live.browsing import CHROMIUM, FLAGS

    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield started
        started.close()


@pytest.fixture
def tabs(browser: Any) -> "Iterator[Tabs]":
    from tests.sim.live.browsing import Tabs

    opened = Tabs(browser)
    yield opened
    for context in opened.contexts:
        context.close()
    assert opened.wrong == []
