"""What can be wrong with a channel that the user can put right."""

from sim.errors import UserError


class ChannelError(UserError):
    """The paths of a scenario cannot be had; the message says why and what to do."""
