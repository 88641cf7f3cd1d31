"""A shipped model can be judged as if it knew of no directions."""

import pytest

from sim.systems import EvaluationError, systems_named


def test_without_directions_there_are_eight_numbers_less() -> None:
    (system,) = systems_named(["ecc-r-without-directions"], bits=(4,))
    (usual,) = systems_named(["ecc-r"], bits=(4,))
    assert (system.name, usual.name) == ("ecc-r-without-directions at 4 bits", "ecc-r at 4 bits")
    assert (system.payload_bits, usual.payload_bits) == (768 * 4, 776 * 4)
    with pytest.raises(EvaluationError, match="unknown system 'nobody-without-directions'; one of ecc-r, "):
        systems_named(["nobody-without-directions"])
