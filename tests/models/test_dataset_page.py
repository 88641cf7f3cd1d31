"""A page of a data set's model that was edited by hand: it is understood, or refused in one line."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.dataset import Dataset, read_dataset, split_of
from models.dataset_export import export_dataset_model
from models.dataset_runtime import load_dataset_model
from models.dataset_training import DatasetTrainer, suited_config
from models.runtime import ModelError
from tests.models.dataset_kit import arrays, write

Keys = tuple[str | int, ...]
REMOVED = object()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return read_dataset(write(tmp_path_factory.mktemp("set") / "set.h5", arrays()))


@pytest.fixture(scope="module")
def folder(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    split, path = split_of(dataset), tmp_path_factory.mktemp("model")
    config = suited_config(dataset, split, epochs=1)
    trainer = DatasetTrainer(config, dataset, split, path / "state.pt", report=lambda line: None)
    return export_dataset_model(trainer, path / "model")


@pytest.fixture(scope="module")
def page(folder: Path) -> Any:
    return json.loads((folder / "model.json").read_text())


def places(value: Any, path: Keys = ()) -> Iterator[Keys]:
    """Where something stands in a page, the page itself included."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def edited(page: Any, path: Keys, value: Any) -> Any:
    """A copy with another value at one place, or without it."""
    whole = {"page": copy.deepcopy(page)}
    parent: Any = whole
    *above, last = ("page", *path)
    for key in above:
        parent = parent[key]
    if value is REMOVED:
        del parent[last]
    else:
        parent[last] = value
    return whole.get("page", "")


def refused(folder: Path, text: str, dataset: Dataset) -> str:
    """What is said of a model with this page; nothing if it is taken."""
    path = folder / "model.json"
    before = path.read_bytes()
    path.write_text(text)
    line = ""
    try:
        load_dataset_model(folder).check(dataset)
    except ModelError as error:
        line = str(error)
    finally:
        path.write_bytes(before)
    assert len(line.splitlines()) <= 1
    return line


NEEDED = (
    "version", "kind", "bs_ids", "dims", "bits", "steps", "link_shape", "carrier_hz", "subcarrier_spacing_hz",
    "noise_variance", "axis_scale", "free_axes", "trained_on", "split", "files",
)  # fmt: skip


@pytest.mark.parametrize("key", NEEDED)
def test_a_key_that_is_missing(folder: Path, page: Any, dataset: Dataset, key: str) -> None:
    line = refused(folder, json.dumps(edited(page, (key,), REMOVED)), dataset)
    assert line.startswith(f"{folder / 'model.json'}: ")


WRONG: dict[str, tuple[Keys, Any, str]] = {
    "text for a list": (("bs_ids",), "bs1", "damaged (bs_ids: "),
    "no base station": (("bs_ids",), [], "damaged (bs_ids: "),
    "a base station twice": (("bs_ids", 1), "bs1", "damaged (bs_ids: a base station is there twice)"),
    "a base station less": (("bs_ids",), ["bs1", "bs2", "bs3"], "damaged (4 steps for 3 base stations)"),
    "a number as text": (("dims",), "6", "damaged (dims: "),
    "another size of messages": (("dims",), 99, "damaged (fusion.onnx takes latent "),
    "no bits": (("bits",), 0, "damaged (bits: "),
    "too many bits": (("bits",), 17, "damaged (bits: "),
    "a step that is null": (("steps", 0), None, "damaged (steps.0: "),
    "a step of nothing": (("steps", 0), 0.0, "damaged (steps.0: "),
    "one number for all steps": (("steps",), 0.01, "damaged (steps: "),
    "CSI of another size": (("link_shape", "subcarriers"), 9, "damaged (encoder-bs1.onnx takes features "),
    "CSI of no size": (("link_shape", "slots"), 0, "damaged (link_shape: slots, antennas and"),
    "a key too much": (("link_shape", "users"), 1, "damaged (link_shape.users: "),
    "a shape that is null": (("link_shape",), None, "damaged (link_shape: "),
    "two axes": (("axis_scale",), [1.0, 1.0], "damaged (axis_scale"),
    "an axis that is no number": (("axis_scale", 2), float("nan"), "damaged (axis_scale.2: "),
    "a number beyond all": (("carrier_hz",), 10**400, "damaged (carrier_hz: "),
    "no free axis": (("free_axes",), 0, "damaged (free_axes: "),
    "noise that is text": (("noise_variance",), "quiet", "damaged (noise_variance: "),
    "no digest": (("trained_on",), {"file": "set.h5"}, "damaged (trained_on.digest: "),
    "another grouping": (("split", "grouping", "by"), "colour", "damaged (split.grouping: by must be one of"),
    "cells of no size": (("split", "grouping", "by"), "cell", "damaged (split.grouping: cell_m must be"),
    "a group that is no place": (("split", "test", 0), "here", "damaged (split: names of places must be"),
    "text for groups": (("split", "training"), "1 2 3", "damaged (split.training: "),
    "no group": (("split", "test"), [], "no group of split.test)"),
    "a group that there is not": (("split", "validation"), ["0 0 0"], "no group of split.validation)"),
    "heard by too few": (("heard_in_training",), [True], "damaged (1 heard_in_training for 4 base stations)"),
    "heard perhaps": (("heard_in_training", 0), "yes", "damaged (heard_in_training.0: "),
    "an origin on a map": (("origin_m",), [1.0, 2.0], "damaged (origin_m"),
    "files as a list": (("files",), ["fusion.onnx"], "damaged (files: "),
    "a file that is null": (("files", "fusion.onnx"), None, "damaged (files.fusion.onnx: "),
    "a name in two lines": (("files", "a\nb"), "", "damaged (files"),
    "another version": (("version",), {"one": "1\n"}, "version {'one': '1\\n'}, expected 1"),
    "another kind": (("kind",), None, "of a model that was not trained with --dataset"),
    "null": ((), None, "damaged (no version)"),
    "a list": ((), [1, 2], "damaged (no version)"),
}  # fmt: skip


@pytest.mark.parametrize(("path", "value", "said"), WRONG.values(), ids=WRONG)
def test_what_is_wrong(folder: Path, page: Any, dataset: Dataset, path: Keys, value: Any, said: str) -> None:
    line = refused(folder, json.dumps(edited(page, path, value)), dataset)
    assert line.startswith(f"{folder / 'model.json'}: ")
    assert said in line


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '"\\ud800', "9" * 5_000])
def test_what_is_no_json(folder: Path, dataset: Dataset, text: str) -> None:
    assert refused(folder, text, dataset).startswith(f"{folder / 'model.json'}: damaged (")


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(draw=st.data())
def test_whatever_is_edited_is_understood_or_refused_in_one_line(
    folder: Path, page: Any, dataset: Dataset, draw: st.DataObject
) -> None:
    path = draw.draw(st.sampled_from(list(places(page))))
    value = draw.draw(st.just(REMOVED) | ANYTHING)
    refused(folder, json.dumps(edited(page, path, value)), dataset)


def test_the_page_as_it_was_is_taken(folder: Path, page: Any, dataset: Dataset) -> None:
    assert refused(folder, json.dumps(page), dataset) == ""
    for key in ("heard_in_training", "origin_m"):
        assert refused(folder, json.dumps(edited(page, (key,), REMOVED)), dataset) == ""
