"""Watches the parts of a run in real time: who is there, who has gone, and starts again whoever has died."""

import logging
from collections import defaultdict
from collections.abc import Callable
from time import monotonic
from typing import Literal

from sim.parts import Parts

SILENT_S = 0.8
"""A part that is not heard for longer is lost: a beat comes every 0.2 s, and within a second it must show."""
AWAY_S = 0.3
"""The world itself was away if it has not looked for longer."""
HUNG_S = 10.0
"""A process of ours that is silent for longer is killed, and starts again."""
BACK_OFF_S = (0.0, 0.2, 1.0, 5.0)
"""Wait before a restart, by how often the part has died within a minute."""

State = Literal["lost", "back"]

_LOG = logging.getLogger(__name__)


class Watch:
    """Tells when a part is lost and when it is back, once each.

    Args:
        parts: to watch.
        notice: told of the name, what happened and why.
    """

    def __init__(self, parts: Parts, notice: Callable[[str, State, str], None]) -> None:
        self._parts = parts
        self._notice = notice
        self._lost_s: dict[str, float] = {}
        self._until_s: dict[str, float] = {}
        """When each part was last back after it had been lost or switched off."""
        self._restart_s: dict[str, float] = {}
        self._deaths: defaultdict[str, list[float]] = defaultdict(list)
        self._looked_s = monotonic()
        self.times_lost: defaultdict[str, int] = defaultdict(int)

    @property
    def lost(self) -> frozenset[str]:
        """Who is away now."""
        return frozenset(self._lost_s)

    def was_away(self, name: str, within_s: float) -> bool:
        """Whether a part has been away at some time within the last seconds."""
        return name in self._lost_s or monotonic() - self._until_s.get(name, -1e9) < within_s

    def was_switched_off(self, name: str) -> None:
        """A part has been switched on again: it counts as away until now."""
        self._until_s[name] = monotonic()

    def look(self) -> None:
        """Look after all parts; to be called several times a second."""
        now = monotonic()
        # Whoever was away herself has first to hear what was said meanwhile.
        was_here = now - self._looked_s < AWAY_S
        self._looked_s = now
        for name, code in self._parts.ended():
            self._parts.peers[name].process = None
            self._parts.peers[name].ready = False
            self._deaths[name] = [when for when in self._deaths[name] if now - when < 60.0] + [now]
            wait_s = BACK_OFF_S[min(len(self._deaths[name]), len(BACK_OFF_S)) - 1]
            self._restart_s[name] = now + wait_s
            self._lose(name, f"died (exit code {code}), starts again")
        for name, when in list(self._restart_s.items()):
            if now >= when:
                del self._restart_s[name]
                self._parts.spawn(name)
        for name, peer in self._parts.peers.items() if was_here else ():
            silent_s = now - peer.heard_s
            if name not in self._lost_s:
                if silent_s > SILENT_S:
                    self._lose(name, f"silent for {silent_s:.1f} s")
            elif peer.ready and silent_s < SILENT_S:
                self._find(name)
            elif peer.process is not None and silent_s > HUNG_S and now - self._lost_s[name] > HUNG_S:
                peer.process.kill()

    def starts_over(self, name: str) -> None:
        """A part that was there says hello: what it held is gone with its former life."""
        self._lose(name, "starts over")

    def _lose(self, name: str, why: str) -> None:
        if name in self._lost_s:
            return
        self._lost_s[name] = monotonic()
        self.times_lost[name] += 1
        _LOG.warning("%s is lost: %s", name, why)
        self._notice(name, "lost", why)

    def _find(self, name: str) -> None:
        away_s = monotonic() - self._lost_s.pop(name)
        self._until_s[name] = monotonic()
        _LOG.warning("%s is back after %.1f s", name, away_s)
        self._notice(name, "back", f"after {away_s:.1f} s")
