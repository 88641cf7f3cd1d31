"""Sizes and kinds of the networks."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ConfigDict

ENCODERS = ("dense", "tokens", "res_segnet")
CENTRAL_UNITS = ("extended", "paper")


@dataclass(frozen=True)
class Shape:
    """Sizes and kinds of the networks.

    Attributes:
        num_bs: Base stations, L.
        slots: Of a snapshot, T.
        antennas: Of a base station, N_r.
        subcarriers: With a pilot, N.
        slot_modes: Polynomials over the slots that the encoder sees, see
            :func:`models.preprocessing.slot_basis`; ``res_segnet`` sees the slots themselves.
        encoder: ``dense`` sees all subcarriers at once, ``tokens`` mixes over subcarriers and channels in
            turn, ``res_segnet`` is the paper's.
        width: Of the encoder; channels at the top of ``res_segnet``.
        depth: Residual blocks of the encoder; of one level of ``res_segnet``.
        latent: d_z, numbers per subcarrier that a base station sends.
        cu: ``paper`` is (23)–(33) alone; ``extended`` adds what :class:`models.network.Fusion` says.
        cma: Whether gains weigh the values by (26); otherwise M = I there: a plain Transformer layer.
        hidden: Of the LSTM.
        fusion: Width of the dense layer beside the attention (``extended``).
        site_hidden: Of the layers that make the sites' own Gaussians (``extended``).
        site_estimates: Whether the central unit starts from the product of those Gaussians (``extended``).
        gain_floor_db: Weaker links count as this weak.
    """

    num_bs: int = 6
    slots: int = 10
    antennas: int = 8
    subcarriers: int = 24
    slot_modes: int = 1
    encoder: str = "dense"
    width: int = 384
    depth: int = 3
    latent: int = 32
    cu: str = "extended"
    cma: bool = True
    hidden: int = 192
    fusion: int = 512
    site_hidden: int = 256
    site_estimates: bool = True
    gain_floor_db: float = -30.0

    __pydantic_config__ = ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        if self.encoder not in ENCODERS:
            raise ValueError(f"encoder must be one of {', '.join(ENCODERS)}, not {self.encoder!r}")
        if self.cu not in CENTRAL_UNITS:
            raise ValueError(f"cu must be one of {', '.join(CENTRAL_UNITS)}, not {self.cu!r}")
        if not 1 <= self.slot_modes <= self.slots:
            raise ValueError(f"slot_modes must be 1 to {self.slots}, not {self.slot_modes}")
        for name in (
            "num_bs", "slots", "antennas", "subcarriers", "width", "depth", "latent", "hidden", "fusion",
            "site_hidden",
        ):  # fmt: skip
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")

    @property
    def dims(self) -> int:
        """D, numbers in one message."""
        return self.subcarriers * self.latent

    @property
    def input_modes(self) -> int | None:
        """Polynomials over the slots in the encoder's input; None: the slots themselves, by (13)–(15)."""
        return None if self.encoder == "res_segnet" else self.slot_modes

    @property
    def features(self) -> int:
        """Numbers per subcarrier that the encoder sees."""
        return 2 * self.antennas * (self.slots if self.input_modes is None else self.input_modes)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one link's encoder input."""
        if self.input_modes is None:
            return (self.slots * self.antennas, self.subcarriers, 2)
        return (self.subcarriers, self.features)
