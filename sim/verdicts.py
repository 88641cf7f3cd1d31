"""What the figures of an evaluation say about the claims that are made of the shipped model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Any

Row = Mapping[str, Any]

OURS, SAME_BUDGET = "ecc-r", "ecc-r-equal"
SHIPPED = OURS, "ecc-r-map"
HONEST_BITS = 3_584
"""Of slots averaged, then block floating point with nine bits."""
PAPER_MEAN_M, PAPER_E90_M = 0.48, 0.83
BEYOND_MEAN_M = 0.30
"""The mean that is asked for next."""
BEYOND_BITS = 3_072
"""And with no more than so many bits."""
LEAST_ANEES, MOST_ANEES = 0.8, 1.25
MOST_GROWTH = 0.25


@dataclass(frozen=True)
class Verdict:
    """A claim, whether the figures bear it out, and which they are."""

    claim: str
    holds: bool
    figures: str

    def __str__(self) -> str:
        return f"{'yes' if self.holds else 'no'}: {self.claim} ({self.figures})"


def verdicts(rows: Sequence[Row]) -> list[Verdict]:
    """All verdicts that there are figures for, on served points of the split ``random``."""
    served = [row for row in rows if row["split"] == "random" and row["subset"] == "served"]
    whole = [row for row in served if row["missing"] == "0"]
    ours = [row for row in whole if family(row) in SHIPPED]
    return [
        *_paper(ours),
        *_beyond(ours),
        *_honest_payload(ours, whole),
        *_fixed(ours, whole),
        *_missing(served),
        *_honesty(served),
    ]


def family(row: Row) -> str:
    """The system, whatever the size of its messages."""
    name: str = row["system"].split(" at ")[0]
    return name


def best_within(rows: Sequence[Row], payload_bits: int) -> Row | None:
    """The least mean error with at most so many bits."""
    fitting = [row for row in rows if row["payload_bits"] <= payload_bits]
    return min(fitting, key=lambda row: row["mean_m"], default=None)


def _paper(ours: Sequence[Row]) -> Iterator[Verdict]:
    for row in ours:
        if row["system"] == family(row):
            yield Verdict(
                f"{row['system']} as good as the paper in its city, {PAPER_MEAN_M} m on average and "
                f"{PAPER_E90_M} m at 90 %",
                row["mean_m"] <= PAPER_MEAN_M and row["e90_m"] <= PAPER_E90_M,
                f"{row['mean_m']:.2f} m and {row['e90_m']:.2f} m",
            )


def _beyond(ours: Sequence[Row]) -> Iterator[Verdict]:
    best = best_within(ours, BEYOND_BITS)
    if best is not None:
        yield Verdict(
            f"at most {BEYOND_MEAN_M:.2f} m on average with no more than {BEYOND_BITS:,} bits",
            best["mean_m"] <= BEYOND_MEAN_M,
            f"{best['mean_m']:.2f} m with {best['payload_bits']:,} bits, {family(best)}",
        )


def _honest_payload(ours: Sequence[Row], whole: Sequence[Row]) -> Iterator[Verdict]:
    rival = next((row for row in whole if row["system"] == "csi-mean-bfp9"), None)
    best = best_within(ours, HONEST_BITS)
    if rival is not None and best is not None:
        yield Verdict(
            "better than slots averaged and sent in block floating point, with no more than its "
            f"{HONEST_BITS:,} bits",
            best["mean_m"] < rival["mean_m"],
            f"{best['mean_m']:.2f} m with {best['payload_bits']:,} bits against {rival['mean_m']:.2f} m",
        )


def _fixed(ours: Sequence[Row], whole: Sequence[Row]) -> Iterator[Verdict]:
    equal = [row for row in whole if family(row) == SAME_BUDGET]
    for rival in whole:
        if rival["system"] not in ("ecc-q10", "ecc-q8", "ecc-q6", "ecc-q4"):
            continue
        alone = [row for row in ours if family(row) == OURS]
        for name, rows in ((OURS, alone), (SAME_BUDGET, equal)):
            best = best_within(rows, rival["payload_bits"])
            if best is not None:
                yield Verdict(
                    f"{name} at least as good as {rival['system']}, with no more than its "
                    f"{rival['payload_bits']:,} bits",
                    best["mean_m"] <= rival["mean_m"],
                    f"{best['mean_m']:.2f} m against {rival['mean_m']:.2f} m",
                )


def _missing(served: Sequence[Row]) -> Iterator[Verdict]:
    whole = {row["system"]: row for row in served if row["missing"] == "0"}
    for row in served:
        if row["missing"] == "1" and family(row) in SHIPPED and row["system"] in whole:
            before = whole[row["system"]]["mean_m"]
            worst = max(part["mean_m"] for part in row["by_missing"].values())
            yield Verdict(
                f"{row['system']}: with any one base station missing, the mean error grows by less than a "
                "quarter",
                worst < (1 + MOST_GROWTH) * before,
                f"by {row['mean_m'] / before - 1:.0%} over all choices, by {worst / before - 1:.0%} "
                f"for the worst{_expected(whole[row['system']])}",
            )


def _expected(whole: Row) -> str:
    """What sites in sight explain of it: a point that loses one of k errs like those that see k - 1."""
    sites = {int(k): part for k, part in whole.get("by_sites_in_sight", {}).items() if part["points"]}
    most = max(sites, default=0)
    if set(sites) != set(range(most + 1)) or not most:
        return ""
    total = sum(part["points"] * part["mean_m"] for part in sites.values())
    lost = sum(
        part["points"] * k / most * (sites[k - 1]["mean_m"] - part["mean_m"])
        for k, part in sites.items()
        if k
    )
    return f"; by {lost / total:.0%} if each point erred as those with one site in sight less"


def _honesty(served: Sequence[Row]) -> Iterator[Verdict]:
    names = {"0": "none missing", "1": "any one missing", "3": "three missing"}
    for row in served:
        if family(row) in SHIPPED and row["anees"] is not None:
            each = [row["anees"], *(part["anees"] for part in row["by_missing"].values())]
            between = f"{min(each):.2f} to {max(each):.2f}" if len(each) > 1 else f"{each[0]:.2f}"
            yield Verdict(
                f"{row['system']}, {names.get(row['missing'], row['missing'] + ' missing')}: "
                f"ANEES within {LEAST_ANEES} and {MOST_ANEES}",
                all(LEAST_ANEES <= value <= MOST_ANEES for value in each),
                between,
            )


def learning(rows: Sequence[Row]) -> str | None:
    """What a small and a long training predict for the paper's figure or beyond; None without both."""
    whole = [
        row
        for row in rows
        if (row["split"], row["subset"], row["missing"]) == ("random", "served", "0")
        and row["system"] in (OURS, SAME_BUDGET)
    ]
    if len(whole) < 2 or whole[0]["samples_trained"] == whole[1]["samples_trained"]:
        return None
    few, many = sorted(whole, key=lambda row: int(row["samples_trained"]))
    exponent = log(few["mean_m"] / many["mean_m"]) / log(many["samples_trained"] / few["samples_trained"])
    ends = ", ".join(f"{row['mean_m']:.2f} m after {row['samples_trained']:,} samples" for row in (few, many))
    if exponent <= 0:
        return f"{ends}: more samples did not help."
    goal_m = PAPER_MEAN_M if many["mean_m"] > PAPER_MEAN_M else BEYOND_MEAN_M
    wanted = many["samples_trained"] * max(many["mean_m"] / goal_m, 1.0) ** (1 / exponent)
    return (
        f"{ends}: as samples^−{exponent:.2f}, which makes {goal_m:.2f} m a matter of some "
        f"{float(f'{wanted:.2g}'):,.0f} samples."
    )
