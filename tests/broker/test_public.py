from types import ModuleType

import broker


def test_all_names_what_is_public() -> None:
    public = {
        name
        for name, value in vars(broker).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert set(broker.__all__) == public
    assert len(broker.__all__) == len(public)
