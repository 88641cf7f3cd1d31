"""MQTT: the latest of each topic, retained, on a broker that may come and go.

<prefix>/<run>/track/<ue>   JSON, retained
<prefix>/<run>/link/<link>  JSON, retained
<prefix>/<run>/status       "online", "ended", or by the last will "gone"; retained
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import aiomqtt

PREFIX = "fronthaul"
FIRST_WAIT_S, LONGEST_WAIT_S = 0.2, 30.0
TAKE_S = 0.5
MOST_TOPICS = 4096

Taken = list[tuple[str, bytes]]
"""Topics without prefix and run, and what to publish there."""

_LOG = logging.getLogger(__name__)


class MqttBridge:
    """Publishes to an MQTT broker from a thread of its own.

    While the broker is away the bridge tries again, after 0.2 s and then twice as long each time; what it
    would have published meanwhile is replaced by newer things where it is taken from.

    Args:
        host: of the broker; an IPv6 address without brackets.
        port: of the broker.
        run: identity of the run.
        take: waits so many seconds for something new and gives it; called from the thread.
        prefix: of all topics.
    """

    def __init__(
        self, host: str, port: int, run: str, take: Callable[[float], Taken], prefix: str = PREFIX
    ) -> None:
        self._host, self._port = host, port
        self._base = f"{prefix}/{run}"
        self._take = take
        self._stop = threading.Event()
        self.connections = 0
        self.published = 0
        self._said = False
        self._last: dict[str, bytes] = {}
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)
        self._thread.start()

    def close(self, timeout_s: float = 2.0) -> None:
        """Say that the run has ended, and stop."""
        self._stop.set()
        self._thread.join(timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> None:
        asyncio.run(self._bridge())

    async def _bridge(self) -> None:
        import aiomqtt

        wait_s = FIRST_WAIT_S
        while not self._stop.is_set():
            before = self.connections
            try:
                await self._session()
            except (aiomqtt.MqttError, OSError) as error:
                if not self._said:
                    self._said = True
                    host = f"[{self._host}]" if ":" in self._host else self._host
                    _LOG.warning("MQTT broker %s:%d: %s (trying again)", host, self._port, error)
            wait_s = FIRST_WAIT_S if self.connections > before else min(2 * wait_s, LONGEST_WAIT_S)
            await asyncio.to_thread(self._stop.wait, wait_s)

    async def _session(self) -> None:
        import aiomqtt

        status = f"{self._base}/status"
        will = aiomqtt.Will(status, b"gone", qos=1, retain=True)
        async with aiomqtt.Client(self._host, self._port, will=will, timeout=5.0) as client:
            self.connections += 1
            self._said = False
            await client.publish(status, b"online", qos=1, retain=True)
            for topic, payload in self._last.items():
                await self._publish(client, topic, payload)
            gone = asyncio.ensure_future(_until_gone(client))
            try:
                while not (self._stop.is_set() or gone.done()):
                    await self._pass_on(client, TAKE_S)
                if gone.done():
                    await gone
                await self._pass_on(client, 0.0)
            finally:
                gone.cancel()
            await client.publish(status, b"ended", qos=1, retain=True)

    async def _pass_on(self, client: "aiomqtt.Client", wait_s: float) -> None:
        """Publish what is new; a broker that comes back is told the last of each topic again."""
        taken = await asyncio.to_thread(self._take, wait_s)
        for topic, payload in taken:
            self._last[topic] = payload
        while len(self._last) > MOST_TOPICS:
            del self._last[next(iter(self._last))]
        for topic, payload in taken:
            await self._publish(client, topic, payload)

    async def _publish(self, client: "aiomqtt.Client", topic: str, payload: bytes) -> None:
        await client.publish(f"{self._base}/{topic}", payload, qos=0, retain=True)
        self.published += 1


async def _until_gone(client: "aiomqtt.Client") -> None:
    """Raises MqttError as soon as the broker is gone."""
    async for _ in client.messages:
        pass
