"""Sizes and kinds of the networks."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ConfigDict

ENCODERS = ("dense", "tokens", "res_segnet", "ofdm_cnn", "power_map", "local_fix")
CENTRAL_UNITS = ("extended", "paper", "late_fusion", "fixes")
FIX_NUMBERS = 9
"""Of a base station's own estimate of the position: three coordinates and what makes their covariance."""


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
            turn, ``res_segnet`` is the paper's; of the systems compared with, ``ofdm_cnn`` convolves over
            subcarriers, ``power_map`` is a Res-SegNet over the ADCPM, and ``local_fix`` is ``dense`` with the
            base station's own position and covariance as its message.
        width: Of the encoder; channels at the top of ``res_segnet``.
        depth: Residual blocks of the encoder; of one level of ``res_segnet``.
        latent: d_z, numbers per subcarrier that a base station sends.
        token: d of (24), numbers per subcarrier that attention and LSTM see, projected from those of the
            message; None: the message itself.
        cu: ``paper`` is (23)–(33) alone; ``extended`` adds what :class:`models.network.Fusion` says;
            ``late_fusion`` is an MLP over all messages, ``fixes`` the paper's over the messages of
            ``local_fix``.
        normed: Whether what attention gives is scaled to a fixed power before the LSTM, as Transformers do.
        cma: Whether gains weigh the values by (26); otherwise M = I there: a plain Transformer layer.
        hidden: Of the LSTM.
        fusion: Width of the dense layer beside the attention (``extended``), or of ``late_fusion``.
        site_hidden: Of the layers that make the sites' own Gaussians (``extended``), or that read them
            (``fixes``).
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
    token: int | None = None
    cu: str = "extended"
    normed: bool = False
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
        if (self.encoder == "local_fix") != (self.cu == "fixes"):
            raise ValueError("encoder local_fix and cu fixes need each other")
        if self.cu == "fixes" and self.token is None:
            raise ValueError("cu fixes needs token")
        if self.token is not None and self.token < 1:
            raise ValueError(f"token must be at least 1, not {self.token}")
        for name in (
            "num_bs", "slots", "antennas", "subcarriers", "width", "depth", "latent", "hidden", "fusion",
            "site_hidden",
        ):  # fmt: skip
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")

    @property
    def message_shape(self) -> tuple[int, int]:
        """Rows and columns of one message: a row per subcarrier, but for ``local_fix``."""
        return (1, FIX_NUMBERS) if self.encoder == "local_fix" else (self.subcarriers, self.latent)

    @property
    def dims(self) -> int:
        """D, numbers in one message."""
        rows, columns = self.message_shape
        return rows * columns

    @property
    def input_modes(self) -> int | None:
        """Polynomials over the slots in the encoder's input; None: the slots themselves, by (13)–(15)."""
        return None if self.encoder == "res_segnet" else self.slot_modes

    @property
    def features(self) -> int:
        """Numbers per subcarrier, or per delay, that the encoder sees."""
        if self.encoder == "power_map":
            return self.antennas
        return 2 * self.antennas * (self.slots if self.input_modes is None else self.input_modes)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one link's encoder input."""
        if self.input_modes is None:
            return (self.slots * self.antennas, self.subcarriers, 2)
        return (self.subcarriers, self.features)
