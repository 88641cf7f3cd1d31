"""The radio channel: tracing, stored traces, pilots."""

from sim.channel.channel import Channel, ChannelError, open_channel

__all__ = ["Channel", "ChannelError", "open_channel"]
