import types

import nodes


def test_all_holds_the_public_names_and_nothing_else() -> None:
    public = {
        name
        for name, value in vars(nodes).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert set(nodes.__all__) == public
    assert list(nodes.__all__) == sorted(nodes.__all__)
