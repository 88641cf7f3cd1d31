"""A model that knows the city: fixes of another one, made sharper by CSI and a map of reflections."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from models.arrays import read_arrays
from models.csi_numbers import BYTE_BITS, Bases, CsiNumbers, mean_over_slots
from models.estimation import pilot_symbols
from models.map_fix import QUIETEST_DB, MapFix, Site
from models.quantiser import rescale_step
from models.reflections import ReflectionMap, ReflectionMapError
from models.runtime import FORMAT_VERSION, ModelError, OnnxModel, digest_of, file_hashes
from models.synthesis import world_from_array

Floats = NDArray[np.float64]

KIND = "mapped"
MAP = "reflections.npz"
BASES = "bases.npz"
TEMPERED = 0.5
"""Power of the density of a first fix that counts as evidence against one that was moved far."""
MOST_ODDS = 50.0
"""Logarithm of more than can matter."""


class MappedModel(OnnxModel):
    """The networks of a model, the CSI behind fewer of their numbers, and a map at the central unit.

    A message is a direction, as many numbers of the latent as ``model.json`` says, and the CSI: the strongest
    parts of its mean over the slots. Where a message is too short for all of that, its fix is that of the
    networks.

    Args:
        folder: Holds ``model.json``, ``reflections.npz`` and ``bases.npz``.
        threads: Threads of one inference.
        directions: Whether to send and use directions.

    Raises:
        ModelError: A file is missing or damaged, here or of the model whose networks it uses, or that is
            not the one that the map was made for.
    """

    def __init__(self, folder: Path, threads: int = 1, *, directions: bool = True) -> None:
        page = folder / "model.json"
        try:
            found: dict[str, Any] = json.loads(page.read_text(encoding="utf-8"))
            if found["version"] != FORMAT_VERSION:
                raise ModelError(f"{page}: version {found['version']}, expected {FORMAT_VERSION}")
            base = folder.parent / str(found["base"])
            wanted, self.latents = str(found["base_digest"]), int(found["latents"])
            tail = int(found["csi_bytes"])
            site_m = np.asarray(found["site_m"], dtype=np.float64)
            look_at_m = np.asarray(found["look_at_m"], dtype=np.float64)
            rows, columns = (int(number) for number in found["array"])
            spacing_hz = float(found["spacing_hz"])
            doubt = np.array([np.nan, *(float(share) for share in found["doubt"])])
        except OSError as error:
            raise ModelError(f"{page}: cannot be read ({error.strerror})") from error
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, ModelError):
                raise
            raise ModelError(f"{page}: damaged ({error})") from error
        super().__init__(base, threads, directions=directions)
        hashes = file_hashes(folder)
        listed = found.get("files", {})
        for name in (MAP, BASES):
            if name not in hashes or listed.get(name) != hashes[name]:
                raise ModelError(
                    f"{folder / name}: missing or damaged (not the file that model.json was written with)"
                )
        if directions and self.digest.hex() != wanted:
            raise ModelError(f"{base}: not the weights that {folder.name} was made with")
        self.digest = digest_of(hashes | {"networks": self.digest.hex()})
        self.folder = folder
        self.steps = np.array([rescale_step(float(step), self.bits, BYTE_BITS) for step in self.steps])
        self.bits = BYTE_BITS  # the least that numbers which are bytes need; more tell nothing else of them
        num_slots, num_ant, num_sc = self.csi_shape
        self._doubt = doubt
        self._symbols = pilot_symbols(num_sc)
        self._noise_share = 1.0 / num_slots
        try:
            shape_fits = site_m.shape == (self.num_bs, 3) and doubt.shape == (self.num_bs + 1,)
            if not (doubt[1:] >= 0).all():
                raise ValueError("doubt must not be negative")
            self.numbers = CsiNumbers.of_steps(self.steps, self.bits, read_bases(folder / BASES), tail)
            shape_fits &= self.numbers.shape == (num_ant, num_sc)
            if not shape_fits or rows * columns != num_ant or not 0 < self.latents <= self.description.dims:
                raise ValueError("sizes that do not fit the networks")
            sites = [Site(site, world_from_array(site, look_at_m)) for site in site_m]
            city = ReflectionMap.load(folder / MAP)
            self.dims = self.leading + self.latents + self.numbers.count
            self.map_fix = MapFix(city, sites, rows, columns, spacing_hz, num_sc)
            self._algebra = ThreadpoolController().select(user_api="blas")
        except (ReflectionMapError, ValueError) as error:
            raise ModelError(f"{folder}: damaged ({error})") from error

    def __reduce__(self) -> tuple[Any, ...]:
        """To other processes it travels as its folder."""
        return partial(type(self), self.folder, self._threads, directions=self.leading > 0), ()

    def encode_many(
        self, bs: str, pilots: NDArray[Any], noise_variance: float
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """See :meth:`OnnxModel.encode_many`: here ``dims`` numbers with the CSI behind them."""
        latents, gain_db = super().encode_many(bs, pilots, noise_variance)
        csi = mean_over_slots(pilots * self._symbols.conj())
        tail = self.numbers.written(self.bs_ids.index(bs), csi)
        return np.concatenate([latents[:, : self.leading + self.latents], tail], axis=1), gain_db

    def fuse_networks(
        self, latents: NDArray[np.float32], gain_db: NDArray[Any], present: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """See :meth:`OnnxModel.fuse_networks`: here with the map behind them."""
        first_m, first_m2, fix_m, fix_m2 = self.both_fixes(latents, gain_db, present)
        heard = self.heard_well(gain_db, present).sum(axis=1)
        return fix_m, doubted(fix_m - first_m, first_m2, fix_m2, self._doubt[np.maximum(heard, 1)])

    def heard_well(self, gain_db: NDArray[Any], present: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Whose CSI is worth explaining, ``[n, num_bs]``."""
        heard = present & np.isfinite(gain_db)
        return np.asarray(np.where(heard, gain_db, -np.inf) >= QUIETEST_DB)

    def both_fixes(
        self, latents: NDArray[np.float32], gain_db: NDArray[Any], present: NDArray[np.bool_]
    ) -> tuple[Floats, Floats, Floats, Floats]:
        """Fixes and covariances of networks and directions, and those that the map makes of them.

        Args:
            latents: See :meth:`OnnxModel.fuse`.
            gain_db: The same.
            present: The same.
        """
        head = self.leading + self.latents
        whole = np.zeros((len(latents), self.num_bs, self.leading + self.description.dims), np.float32)
        whole[..., :head] = latents[..., :head]
        first_m, first_m2 = super().fuse_networks(whole, gain_db, present)
        heard = self.heard_well(gain_db, present)
        csi, lost, arrived = self.numbers.read(latents[..., head:])
        arrived &= heard
        noise = lost + self._noise_share * 10 ** (-np.where(heard, gain_db, 0) / 10)
        fix_m, fix_m2 = first_m.copy(), first_m2.copy()
        with self._algebra.limit(limits=1):  # small matrices: threads would only wait for each other
            for row in np.flatnonzero(arrived.any(axis=1)):
                fix_m[row], fix_m2[row] = self.map_fix.fix(
                    first_m[row], first_m2[row], csi[row], noise[row], arrived[row]
                )
        return first_m, first_m2, fix_m, fix_m2


def read_bases(path: Path) -> Bases:
    """What `write_bases` wrote; raises ValueError if that is not in the file."""
    try:
        found = read_arrays(path, ["antennas", "subcarriers", "order"])
    except (OSError, ValueError) as error:
        raise ValueError(f"{path.name}: {error}") from error
    antennas, subcarriers = (found[name].astype(np.complex128) for name in ("antennas", "subcarriers"))
    return Bases(antennas, subcarriers, found["order"].astype(np.int64))


def write_bases(path: Path, bases: Bases) -> None:
    """In single precision."""
    np.savez(
        path,
        antennas=bases.antennas.astype(np.complex64),
        subcarriers=bases.subcarriers.astype(np.complex64),
        order=bases.order.astype(np.int16),
    )


def doubted(moved_m: Floats, first_m2: Floats, fix_m2: Floats, doubt: Floats) -> Floats:
    """Covariances ``[n, 3, 3]``, m^2, of fixes that may have been moved to the wrong place.

    As of a mixture: what the map says, and, with a small probability, that only the first fix was right. That
    is the likelier the further the map has moved it: odds grow as the inverse of the density that the first
    fix gave to that place, tempered, as first fixes err further than they say.

    Args:
        moved_m: From the first fix to the one that the map made of it, ``[n, 3]``, m; 0 where it made none.
        first_m2: Covariances of first fixes, ``[n, 3, 3]``, m^2.
        fix_m2: Covariances of the others.
        doubt: That probability where nothing was moved, ``[n]``.
    """
    inside = np.linalg.solve(first_m2, moved_m[..., None])[..., 0]
    distance = (moved_m * inside).sum(axis=1)
    odds = np.exp(np.minimum(TEMPERED * distance / 2, MOST_ODDS))
    doubt = np.minimum(doubt * odds, np.maximum(doubt, 1))
    apart = first_m2 + moved_m[:, :, None] * moved_m[:, None, :]
    made = np.asarray((moved_m != 0).any(axis=1)) * doubt
    result: Floats = fix_m2 + made[:, None, None] * apart
    return result
