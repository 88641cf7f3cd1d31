"""The error of a user's mistake: one clear line, no traceback, exit code 2; and any error in one line."""


class UserError(Exception):
    """Something the user can put right; ``str(error)`` is the one line shown to her."""


class CacheWarning(UserWarning):
    """A cached file that cannot be used; its content is computed again."""


def first_line(error: BaseException) -> str:
    """An error in one line."""
    text = str(error).strip().splitlines()
    kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
    return f"{kind}{text[0] if text else ''}".strip(": ") or type(error).__name__
