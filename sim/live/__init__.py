"""The live view: a page on the loopback interface that shows a run while it goes, or afterwards."""

from sim.live.conductor import Conductor
from sim.live.hub import Hub, TooManyViewersError, View
from sim.live.recording import recording_of
from sim.live.server import LiveServer, Programme

__all__ = ["Conductor", "Hub", "LiveServer", "Programme", "TooManyViewersError", "View", "recording_of"]
