"""The error of a user's mistake: one clear line, no traceback, exit code 2."""


class UserError(Exception):
    """Something the user can put right; ``str(error)`` is the one line shown to her."""
