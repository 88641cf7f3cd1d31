"""Consumers that take nothing, of every kind at once, while a run goes by the wall clock."""

import http.client
import socket

import zmq

from sim.live import Hub as Viewers
from sim.live import LiveServer, Programme
from sim.live.onlooker import Onlooker
from sim.streams_out import Hub, streams_of
from tests.sim.kit import scenario_of, walking_from
from tests.sim.test_realtime import FAST, run_now


def test_whoever_takes_nothing_holds_up_nobody() -> None:
    changes = {"ues": {"ue1": walking_from(80, "50 Hz")}}
    scenario = scenario_of(FAST | changes)
    viewers, hub = Viewers(), Hub("run1")
    onlooker = Onlooker(scenario, viewers)
    with (
        socket.create_server(("127.0.0.1", 0)) as mute,  # takes connections, and says nothing
        streams_of(hub, zmq="tcp://127.0.0.1:*", mqtt=f"127.0.0.1:{mute.getsockname()[1]}") as lines,
        LiveServer(Programme(scenario, viewers, onlooker.submit)) as server,
        zmq.Context() as context,
        context.socket(zmq.SUB) as lazy,
        viewers.view() as absent,
    ):
        lazy.linger, lazy.rcvhwm = 0, 1
        lazy.connect(lines[0].split()[-1])
        lazy.subscribe("")
        deaf = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        deaf.request("GET", "/stream", headers={"authorization": f"Bearer {server.token}"})
        summary = run_now(
            changes, hub=hub, prepare=onlooker.begin, conclude=onlooker.end, progress=onlooker.passes
        ).summary
        deaf.close()
        assert summary["valid"], summary["errors"]
        assert summary["fixes"] + summary["fixes_missed"] == 50
        streams = summary["streams"]
        assert streams["mqtt"]["dropped"] >= 40, "the latest of the track is all that waits"
        assert streams["zmq"]["taken"] + streams["zmq"]["dropped"] >= 50
        assert absent.dropped >= 3 * 49 - 3
        left = absent.take()
        assert len(left) < 20, "a value for each key, no more"
        totals = left["totals"]
        assert (totals["fixes"], totals["missed"]) == (summary["fixes"], summary["fixes_missed"])
