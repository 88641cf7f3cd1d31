"""What does not depend on the fronthaul: latents and gains of a scenario, computed once and kept."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nodes import PositioningModel
from sim.embeddings_ahead import EmbeddingsAhead, in_blocks
from sim.embeddings_cache import discard, embeddings_path, unusable, used
from sim.embeddings_file import EmbeddingsFile
from sim.scenario import Scenario
from sim.world import Channel


@dataclass(frozen=True, slots=True, eq=False)
class Embeddings:
    """Of each UE: ``latent`` float32 [n, num_bs, dims] and ``gain_db`` [n, num_bs]; size of the pilots."""

    latent: dict[str, npt.NDArray[np.float32]]
    gain_db: dict[str, npt.NDArray[np.float64]]
    csi_shape: tuple[int, int, int]

    @staticmethod
    def room(scenario: Scenario, dims: int) -> Embeddings:
        """Room for those of a scenario, not filled yet."""
        numbers = {ue: len(scenario.sample_times_ns(ue)) for ue in scenario.ue_ids}
        num_bs = len(scenario.bs_ids)
        return Embeddings(
            {ue: np.zeros((num, num_bs, dims), np.float32) for ue, num in numbers.items()},
            {ue: np.zeros((num, num_bs)) for ue, num in numbers.items()},
            (0, 0, 0),
        )

    def fill(
        self, places: list[tuple[str, int]], latent: npt.NDArray[np.float32], gain_db: npt.NDArray[np.float64]
    ) -> None:
        """Some snapshots, by UE and number."""
        for row, (ue, index) in enumerate(places):
            self.latent[ue][index], self.gain_db[ue][index] = latent[row], gain_db[row]


def embeddings_of(
    scenario: Scenario,
    model: PositioningModel,
    open_channel: Callable[[Scenario], Channel],
    folder: Path | None = None,
    *,
    processes: int = 0,
) -> tuple[Embeddings, bool]:
    """The embeddings of a scenario, from the cache or computed and cached now; and whether they were there.

    A cache that cannot be read or written is told in one `CacheWarning`; the result is the same. `processes`
    help to compute them, as of `embed`.
    """
    path = embeddings_path(scenario, model.digest, folder)
    found = read(path, scenario, model.dims)
    if found is not None:
        used(path)
        return found, True
    return embed(scenario, model, open_channel(scenario), processes=processes, kept=path), False


def embed(
    scenario: Scenario,
    model: PositioningModel,
    channel: Channel,
    *,
    processes: int = 0,
    kept: Path | None = None,
) -> Embeddings:
    """Encode every snapshot of every UE at every BS, many at a time: the numbers are those of a run.

    Args:
        scenario: whose snapshots.
        model: encodes.
        channel: what the BSs hear.
        processes: encode in so many processes beside this one, as of `sim.embeddings_ahead.EmbeddingsAhead`.
        kept: file for them, written whole or, after a `CacheWarning`, not at all.
    """
    embeddings, shape = Embeddings.room(scenario, model.dims), (0, 0, 0)
    with EmbeddingsAhead(scenario, channel, model, processes, kept=kept) as ahead:
        for places, chunk in ahead.chunks():
            shape = chunk.csi_shape
            embeddings.fill(places, chunk.latent, chunk.gain_db)
    return replace(embeddings, csi_shape=shape)


def read(path: Path, scenario: Scenario, dims: int) -> Embeddings | None:
    """Embeddings from the cache; None where there are none, with a warning if what is there is damaged."""
    if not path.exists():
        return None
    embeddings = Embeddings.room(scenario, dims)
    try:
        with closing(EmbeddingsFile(path)) as file:
            for number, places in enumerate(in_blocks(scenario)):
                embeddings.fill(places, *file.block(number, len(places)))
    except (OSError, ValueError) as error:
        discard(path, unusable(path, error))
        return None
    return replace(embeddings, csi_shape=file.csi_shape)
