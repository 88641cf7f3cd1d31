"""The key of a world: the same for the same paths, another for others."""

from dataclasses import replace
from pathlib import Path

import pytest

from sim.channel.errors import ChannelError
from sim.channel.world import SolverSettings, World, radio_of, world_of
from sim.deployment import MUNICH6

WORLD = world_of(MUNICH6)

SCENE = """<scene version="2.1.0">
  <shape type="ply" id="wall"><string name="filename" value="wall.ply"/></shape>
</scene>
"""


def test_the_shipped_traces_are_of_this_world() -> None:
    assert WORLD.key() == "2d0d6a61efa65ee8"


@pytest.mark.parametrize(
    "solver",
    [SolverSettings(batch=7), SolverSettings(path_capacity=7), SolverSettings(candidate_tables=(7,))],
)
def test_settings_on_which_paths_do_not_depend_are_not_in_the_key(solver: SolverSettings) -> None:
    assert replace(WORLD, solver=solver).key() == WORLD.key()


@pytest.mark.parametrize(
    "changed",
    [
        replace(WORLD, scene="etoile"),
        replace(WORLD, carrier_hz=3.6e9),
        replace(WORLD, bs_position_m=((0.0, 0.0, 30.0), *WORLD.bs_position_m[1:])),
        replace(WORLD, bs_ids=tuple(reversed(WORLD.bs_ids))),
        replace(WORLD, boresight_m=(30.0, 60.0, 10.5)),
        replace(WORLD, element="iso"),
        replace(WORLD, polarisation="H"),
        replace(WORLD, solver=SolverSettings(max_depth=5)),
        replace(WORLD, solver=SolverSettings(rays_per_source=1)),
        replace(WORLD, solver=SolverSettings(diffraction=False)),
        replace(WORLD, solver=SolverSettings(kept_paths=5)),
        replace(WORLD, solver=SolverSettings(floor_db=50.0)),
        replace(WORLD, solver=SolverSettings(seed=1)),
    ],
)
def test_what_shapes_the_paths_is_in_the_key(changed: World) -> None:
    assert changed.key() != WORLD.key()


def test_a_scene_file_is_known_by_what_is_in_it_and_not_by_its_place(tmp_path: Path) -> None:
    keys = []
    for folder, mesh in (("here", b"mesh"), ("there", b"mesh"), ("elsewhere", b"another mesh")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "city.xml").write_text(SCENE)
        (tmp_path / folder / "wall.ply").write_bytes(mesh)
        keys.append(replace(WORLD, scene=str(tmp_path / folder / "city.xml")).key())
    assert keys[0] == keys[1] != keys[2]


def test_a_scene_file_is_looked_for_beside_the_scenario(tmp_path: Path) -> None:
    deployment = replace(MUNICH6, scene="city.xml")
    assert world_of(deployment, tmp_path).scene == "city.xml"
    (tmp_path / "city.xml").write_text(SCENE)
    assert world_of(deployment, tmp_path).scene == str(tmp_path / "city.xml")
    assert world_of(deployment).scene == "city.xml"


def test_a_scene_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    scene = tmp_path / "city.xml"
    with pytest.raises(ChannelError, match=r"city\.xml: the scene cannot be read \(No such file"):
        replace(WORLD, scene=str(scene)).key()
    scene.write_text(SCENE)
    with pytest.raises(ChannelError, match=r"wall\.ply: the scene cannot be read \(No such file"):
        replace(WORLD, scene=str(scene)).key()
    scene.write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(ChannelError, match=r"city\.xml: the scene cannot be read \(not text"):
        replace(WORLD, scene=str(scene)).key()


def test_the_radio_is_the_deployment_s() -> None:
    radio = radio_of(MUNICH6)
    assert (radio.subcarriers, radio.antennas, radio.slots) == (24, 8, 10)
    # -174 dBm/Hz in 60 kHz with a noise figure of 5 dB, over 23 dBm spread over 288 subcarriers
    assert radio.noise_variance() == pytest.approx(10 ** ((-174 + 47.78 + 5 - 23 + 24.59) / 10), rel=2e-3)
