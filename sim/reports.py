"""What parts report, held to what they may: whoever has a key may still say anything, of whomever."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from broker.control import Message
from nodes import Outcome

BROKER, CU = "broker", "cu"
DEEPEST = 4
_INT64 = 1 << 63

Check = Callable[[Any], bool]


def is_proper(message: Message) -> bool:
    """Whether a part of that name says such things, and says them as it should."""
    match message.kind:
        case "hello":
            return isinstance(message.body, dict) and _is_int(message.body.get("pid", 0))
        case "ready":
            return message.peer != BROKER or _has_endpoints(message.body)
        case "beat":
            return is_counts(message.body) if message.peer == BROKER else _is_plain(message.body)
        case "failed":
            return _is_text(message.body)
        case "done":
            return True  # whoever asked looks at the answer
        case "skipped" | "silent":
            return message.peer not in (BROKER, CU) and _are_entries(message.body, *_SNAPSHOT)
        case "offered":
            return message.peer == BROKER and _are_entries(message.body, *_OFFERED)
        case "fates":
            return message.peer == BROKER and _are_entries(message.body, *_FATE)
        case "received":
            return message.peer == CU and _are_entries(message.body, *_RECEIVED)
        case "results":
            return message.peer == CU and _are_entries(message.body, _is_int, _is_result)
    return False


def is_counts(body: Any) -> bool:
    """Whether these are the counts of a broker."""
    if not _is_plain(body) or not isinstance(body, dict):
        return False
    links, utilisation = body.get("links"), body.get("utilisation")
    return (
        isinstance(links, dict)
        and all(_is_entry(counts, *_COUNTS) for counts in links.values())
        and isinstance(utilisation, dict)
        and all(_is_number(share) for share in utilisation.values())
    )


def _are_entries(body: Any, *checks: Check) -> bool:
    return isinstance(body, list) and all(_is_entry(entry, *checks) for entry in body)


def _is_entry(entry: Any, *checks: Check) -> bool:
    if not isinstance(entry, list) or len(entry) != len(checks):
        return False
    return all(check(value) for check, value in zip(checks, entry, strict=True))


def _is_int(value: Any) -> bool:
    return type(value) is int and -_INT64 <= value < _INT64


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_text(value: Any) -> bool:
    return type(value) is str


def _is_text_or_none(value: Any) -> bool:
    return value is None or type(value) is str


def _are_parts(value: Any) -> bool:
    return isinstance(value, list) and [type(part) for part in value] == [bytes] * 3


def _are_counted(value: Any) -> bool:
    return isinstance(value, dict) and all(_is_text(key) and _is_int(count) for key, count in value.items())


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _are_numbers(count: int) -> Check:
    def are_numbers(value: Any) -> bool:
        return isinstance(value, list) and len(value) == count and all(map(_is_number, value))

    return are_numbers


def _is_plain(value: Any, deepest: int = DEEPEST) -> bool:
    """Whether it is what JSON can carry."""
    if isinstance(value, dict | list) and deepest == 0:
        return False
    if isinstance(value, dict):
        return all(_is_text(key) and _is_plain(one, deepest - 1) for key, one in value.items())
    if isinstance(value, list):
        return all(_is_plain(one, deepest - 1) for one in value)
    return value is None or type(value) in (str, bool) or _is_number(value)


def _has_endpoints(body: Any) -> bool:
    return isinstance(body, Mapping) and all(_is_text(body.get(end)) for end in ("upstream", "downstream"))


def _is_result(plain: Any) -> bool:
    if not isinstance(plain, list) or not plain:
        return False
    return _is_entry(plain, *(_FIX if plain[0] == "fix" else _MISS)) and plain[0] in ("fix", "miss")


def _is_track_or_none(plain: Any) -> bool:
    return plain is None or _is_entry(plain, *_TRACK)


def _is_outcome(value: Any) -> bool:
    return type(value) is int and value in _OUTCOMES


_OUTCOMES = frozenset(map(int, Outcome))
_SNAPSHOT = _is_text, _is_int
_COUNTS = _is_int, _is_int, _is_int, _are_counted, _is_int, _is_int
_OFFERED = _is_int, _is_int, _are_parts
_FATE = (
    _is_text, _is_text, _is_text, _is_int, _is_int, _is_text_or_none, _is_text, _is_int, _is_int,
)  # fmt: skip
_RECEIVED = (
    _is_text, _is_text, _is_int, _is_int, _is_int, _is_text, _is_text_or_none, _are_parts,
)  # fmt: skip
_TRACK = (
    _is_text, _is_int, _are_numbers(3), _are_numbers(3), _are_numbers(36), _is_int,
    lambda coasting: type(coasting) is bool,
)  # fmt: skip
_MISS = (
    _is_text, _is_text, _is_int, _is_int, _is_int, _is_text, _are_texts, _is_track_or_none,
)  # fmt: skip
_FIX = (
    _is_text, _is_text, _is_int, _is_int, _is_int, _are_numbers(3), _are_numbers(9), _are_texts, _are_counted,
    _is_int, _is_outcome, _is_track_or_none,
)  # fmt: skip
