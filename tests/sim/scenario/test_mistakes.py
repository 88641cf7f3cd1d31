"""Every mistake in a scenario is one line: where it is, which key, what is wrong, what is allowed."""

from pathlib import Path

import pytest

from sim.scenario import ScenarioError
from tests.sim.scenario.conftest import MINIMAL, Load

LINE = "{kind: line, from: [40 m, 80 m, 1.5 m], to: [60 m, 80 m, 1.5 m], speed: 1 m/s}"
BSS = "bs1, bs2, bs3, bs4, bs5, bs6"


def changed(old: str, new: str) -> str:
    assert old in MINIMAL
    return MINIMAL.replace(old, new)


CASES = {
    "a time beyond all clocks": (
        MINIMAL + "cu: {deadline: 1e300 s}\n",
        "s.yaml:6:16 cu.deadline: 1e300 s is not allowed: must be at most 1000000000 s",
    ),
    "a number beyond all numbers": (
        changed("duration: 10 s", "duration: 1e99999999999 s"),
        "s.yaml:1:11 duration: 1e99999999999 is too large",
    ),
    "a packet beyond all links": (
        MINIMAL + "fronthaul: {overhead: 1e300 B}\n",
        "s.yaml:6:23 fronthaul.overhead: 1e300 B is not allowed: must be at most 1000 MB",
    ),
    "an outage of no time": (
        MINIMAL + "fronthaul: {default: {outages: [{at: 0 s, for: 0.1 ns}]}}\n",
        "s.yaml:6:48 fronthaul.default.outages[0].for: must be at least 1 ns",
    ),
    "a study": (
        MINIMAL + "study: {}\n",
        "s.yaml:6:1 study: this is a study: `python -m sim sweep` runs it",
    ),
    "unknown key": (
        MINIMAL + "sede: 3\n",
        (
            "s.yaml:6:1 sede: unknown key; did you mean 'seed'? allowed: name, description, seed, duration, "
            "deployment, clock, ues, model, bs, fronthaul, cu, tracker, faults, transport"
        ),
    ),
    "unknown key in a part": (
        MINIMAL + "cu: {deadlin: 50 ms}\n",
        (
            "s.yaml:6:6 cu.deadlin: unknown key; did you mean 'deadline'? "
            "allowed: deadline, min_bs, late, processing"
        ),
    ),
    "a python name of a key": (
        MINIMAL + "faults: [{at: 1 s, kind: bs_down, bs: bs1, lasts: 1 s}]\n",
        "s.yaml:6:44 faults[0].lasts: unknown key; allowed: bs, kind, at, for",
    ),
    "a UE described twice": (
        MINIMAL.replace("  ue1:", "  ue1-1: {rate: 1 Hz, trajectory: " + LINE + "}\n  ue1:")
        + "    count: 2\n",
        "s.yaml:4:3 ues.ue1: there are two UEs 'ue1-1'",
    ),
    "stagger without count": (
        MINIMAL + "    stagger: 1 s\n",
        "s.yaml:6:5 ues.ue1.stagger: stagger needs count",
    ),
    "an error in one of many": (
        MINIMAL + "    count: 20\n    stagger: 1 s\n",
        "s.yaml:2:1 ues.ue1-11: has no snapshot: it starts at 10 s and ends at 10 s",
    ),
    "missing key": (changed("    rate: 10 Hz\n", ""), "s.yaml:3:3 ues.ue1.rate: required, but missing"),
    "missing at the top": (changed("duration: 10 s\n", ""), "s.yaml:1:1 duration: required, but missing"),
    "missing in a kind": (
        changed(", to: [60 m, 80 m, 1.5 m]", ""),
        "s.yaml:4:5 ues.ue1.trajectory.to: required, but missing",
    ),
    "no unit": (
        changed("10 Hz", "10"),
        "s.yaml:5:11 ues.ue1.rate: 10 has no unit: write for example 10 Hz (units: Hz, kHz, MHz, GHz)",
    ),
    "wrong unit": (
        MINIMAL + "fronthaul:\n  default:\n    capacity: 10 Mbps\n",
        (
            "s.yaml:8:15 fronthaul.default.capacity: 'Mbps' is not a unit of data rate: write for example "
            "10 Mbit/s (units: bit/s, kbit/s, Mbit/s, Gbit/s)"
        ),
    ),
    "negative capacity": (
        MINIMAL + "fronthaul:\n  links:\n    bs3: {capacity: -1 Mbit/s}\n",
        "s.yaml:8:21 fronthaul.links.bs3.capacity: -1 Mbit/s is not allowed: must be more than 0 bit/s",
    ),
    "wrong unit inside a list": (
        changed("[40 m, 80 m,", "[40 m, 80 s,"),
        (
            "s.yaml:4:43 ues.ue1.trajectory.from[1]: 's' is not a unit of length: write for example 6 m "
            "(units: mm, cm, m, km)"
        ),
    ),
    "a coordinate too few": (
        changed("[40 m, 80 m, 1.5 m]", "[40 m, 80 m]"),
        "s.yaml:4:36 ues.ue1.trajectory.from: has 2 entries, needs more",
    ),
    "unknown kind": (
        changed("kind: line", "kind: lin"),
        (
            "s.yaml:4:24 ues.ue1.trajectory.kind: 'lin' is not a kind; did you mean 'line'? "
            "allowed: spiral, line, waypoints, random_walk, csv"
        ),
    ),
    "no kind": (
        changed("kind: line, ", ""),
        "s.yaml:4:5 ues.ue1.trajectory.kind: required, but missing",
    ),
    "unknown kind of fault": (
        MINIMAL + "faults:\n  - {at: 1 s, kind: bs_dwn, bs: bs1}\n",
        (
            "s.yaml:7:21 faults[0].kind: 'bs_dwn' is not a kind; did you mean 'bs_down'? "
            "allowed: bs_down, link_outage, capacity, latency, loss_burst, random"
        ),
    ),
    "unknown base station in a fault": (
        MINIMAL + "faults:\n  - {at: 1 s, kind: bs_down, bs: bs9}\n",
        f"s.yaml:7:34 faults[0].bs: unknown base station 'bs9'; did you mean 'bs6'? allowed: {BSS}",
    ),
    "unknown link in a fault": (
        MINIMAL + "faults:\n  - {at: 1 s, kind: link_outage, link: core}\n",
        f"s.yaml:7:40 faults[0].link: unknown link 'core'; allowed: {BSS}",
    ),
    "unknown base station in a random fault": (
        MINIMAL + "faults:\n  - {random: {kind: bs_down, bs: none, every: 1 s, for: 1 s}}\n",
        f"s.yaml:7:34 faults[0].random.bs: unknown base station 'none'; allowed: {BSS}",
    ),
    "random faults without end": (
        MINIMAL + "faults:\n  - {random: {kind: bs_down, bs: bs1, every: 1 us, for: 1 us}}\n",
        "s.yaml:7:46 faults[0].random.every: more than 100000 faults",
    ),
    "walk without end": (
        changed(LINE, "{kind: random_walk, height: 1.5 m, speed: 1000 km/h, leg: 1 mm}").replace(
            "10 s", "10 min"
        ),
        "s.yaml:4:17 ues.ue1.trajectory: more than 100000 legs in 600 s",
    ),
    "a fault after the end": (
        MINIMAL + "faults:\n  - {at: 11 s, kind: bs_down, bs: bs1}\n",
        "s.yaml:7:10 faults[0].at: begins at 11 s, the run ends at 10 s",
    ),
    "unknown base station of a link": (
        MINIMAL + "fronthaul: {links: {bs7: {latency: 1 ms}}}\n",
        f"s.yaml:6:21 fronthaul.links.bs7: unknown base station 'bs7'; did you mean 'bs6'? allowed: {BSS}",
    ),
    "unknown base station of a model": (
        MINIMAL + "model: {per_bs: {bs7: {bits: 4}}}\n",
        f"s.yaml:6:18 model.per_bs.bs7: unknown base station 'bs7'; did you mean 'bs6'? allowed: {BSS}",
    ),
    "unknown member": (
        MINIMAL + "fronthaul: {shared: {agg: {members: [bs1, bs0]}}}\n",
        (
            "s.yaml:6:43 fronthaul.shared.agg.members[1]: unknown member 'bs0'; did you mean 'bs6'? "
            f"allowed: {BSS}"
        ),
    ),
    "member twice": (
        MINIMAL + "fronthaul: {shared: {a: {members: [bs1]}, b: {members: [bs2, bs1]}}}\n",
        "s.yaml:6:62 fronthaul.shared.b.members[1]: 'bs1' is already a member of 'a'",
    ),
    "circle": (
        MINIMAL + "fronthaul:\n  shared:\n    a: {members: [b]}\n    b: {members: [a]}\n",
        "s.yaml:8:8 fronthaul.shared.a: shared segments form a circle: a > b > a",
    ),
    "segment called like a base station": (
        MINIMAL + "fronthaul: {shared: {bs1: {members: [bs2]}}}\n",
        "s.yaml:6:22 fronthaul.shared.bs1: 'bs1' is a base station already",
    ),
    "bits out of range": (
        MINIMAL + "model: {bits: 17}\n",
        "s.yaml:6:15 model.bits: 17 is not allowed: must be at most 16",
    ),
    "bits that are no count": (
        MINIMAL + "model: {bits: ten}\n",
        "s.yaml:6:15 model.bits: must be a whole number, not 'ten'",
    ),
    "deadline of zero": (
        MINIMAL + "cu: {deadline: 0 ms}\n",
        "s.yaml:6:16 cu.deadline: 0 ms is not allowed: must be more than 0 s",
    ),
    "more base stations than there are": (
        MINIMAL + "cu: {min_bs: 7}\n",
        "s.yaml:6:14 cu.min_bs: 7 is more than the 6 base stations",
    ),
    "word that is not allowed": (
        MINIMAL + "transport: udp\n",
        "s.yaml:6:12 transport: 'udp' is not allowed; allowed: inproc, ipc, tcp",
    ),
    "gate of one": (
        MINIMAL + "tracker: {gate: 1}\n",
        "s.yaml:6:17 tracker.gate: 1 is not allowed: must be less than 1.0",
    ),
    "not a mapping": (MINIMAL + "cu: 50 ms\n", "s.yaml:6:5 cu: must be a mapping, not '50 ms'"),
    "a kind alone": (
        MINIMAL + "fronthaul: {default: {jitter: none}}\n",
        "s.yaml:6:31 fronthaul.default.jitter: must be a mapping with a kind, not 'none'",
    ),
    "a truth value of YAML 1.1": (
        MINIMAL + "fronthaul: {default: {keep_order: yes}}\n",
        "s.yaml:6:35 fronthaul.default.keep_order: must be true or false, not 'yes'",
    ),
    "not a list": (MINIMAL + "faults: bs_down\n", "s.yaml:6:9 faults: must be a list, not 'bs_down'"),
    "nothing where there must be something": (
        "duration: 10 s\nues:\n",
        "s.yaml:2:1 ues: must be a mapping, not nothing",
    ),
    "no UE": ("duration: 10 s\nues: {}\n", "s.yaml:2:6 ues: needs at least 1, has 0"),
    "bad id": (
        changed("  ue1:", "  ue/1:"),
        "s.yaml:3:3 ues.ue/1: 'ue/1' is not allowed: letters, digits, - and _ only, a letter first",
    ),
    "id that no frame can carry": (
        changed("  ue1:", f"  {'u' * 65}:"),
        f"s.yaml:3:3 ues.{'u' * 65}: takes at most 64 characters, has 65",
    ),
    "id that no frame can carry, with its number": (
        changed("  ue1:", f"  {'u' * 63}:") + "    count: 9\n",
        f"s.yaml:3:3 ues.{'u' * 63}: takes at most 64 characters, has 65 with its number",
    ),
    "UE twice": (
        MINIMAL + "  ue1:\n    rate: 1 Hz\n",
        "s.yaml:6:3 ues.ue1: the key is there already, in line 3",
    ),
    "UE without a snapshot": (
        MINIMAL + "    start: 10 s\n",
        "s.yaml:3:3 ues.ue1: has no snapshot: it starts at 10 s and ends at 10 s",
    ),
    "UE with far too many snapshots": (
        changed("10 Hz", "10 GHz"),
        "s.yaml:5:11 ues.ue1.rate: more than 1000000 snapshots",
    ),
    "speed and duration": (
        changed("speed: 1 m/s", "speed: 1 m/s, duration: 5 s"),
        "s.yaml:4:17 ues.ue1.trajectory: needs exactly one of speed and duration",
    ),
    "one waypoint": (
        changed(LINE, "{kind: waypoints, points: [[1 m, 2 m, 3 m]], speed: 1 m/s}"),
        "s.yaml:4:43 ues.ue1.trajectory.points: needs at least 2, has 1",
    ),
    "through a wall": (
        changed("to: [60 m, 80 m, 1.5 m]", "to: [40 m, 150 m, 1.5 m]").replace("1 m/s", "10 m/s"),
        "s.yaml:4:17 ues.ue1.trajectory: goes through a wall at 5.30 s, (40.0, 133.0, 1.5) m",
    ),
    "out of the area": (
        changed("to: [60 m, 80 m, 1.5 m]", "to: [40 m, 80 m, 80 m]").replace("1 m/s", "10 m/s"),
        (
            "s.yaml:4:17 ues.ue1.trajectory: leaves the area at 3.00 s, (40.0, 80.0, 31.5) m "
            "(area: x -80 to 140, y -90 to 210, z 0.5 to 30 m)"
        ),
    ),
    "walk that begins in a building": (
        changed(LINE, "{kind: random_walk, height: 1.5 m, speed: 1 m/s, from: [30 m, 5 m]}"),
        "s.yaml:4:17 ues.ue1.trajectory: cannot start at (30, 5) m: not outdoors inside the area",
    ),
    "CSV file that is not there": (
        changed(LINE, "{kind: csv, file: way.csv}"),
        "s.yaml:4:35 ues.ue1.trajectory.file: no such file: way.csv",
    ),
    "CSV without anything": (
        changed(LINE, "{kind: csv}"),
        "s.yaml:4:17 ues.ue1.trajectory: needs file or samples",
    ),
    "unknown deployment": (
        MINIMAL + "deployment: munich7\n",
        "s.yaml:6:13 deployment: unknown deployment 'munich7'; did you mean 'munich6'? allowed: munich6",
    ),
    "deployment that lacks a part": (
        MINIMAL + "deployment: {scene: munich}\n",
        "s.yaml:6:1 deployment.sites: required, but missing",
    ),
    "site without a position": (
        MINIMAL + "deployment: {preset: munich6, sites: {bs7: {}}}\n",
        "s.yaml:6:39 deployment.sites.bs7.position: required, but missing",
    ),
    "area upside down": (
        MINIMAL + "deployment: {preset: munich6, area: {x: [5 m, -5 m]}}\n",
        "s.yaml:6:41 deployment.area.x: 5 m is not below -5 m",
    ),
    "capacity trace that begins late": (
        MINIMAL + "fronthaul: {default: {capacity: [[1 s, 1 Mbit/s]]}}\n",
        "s.yaml:6:35 fronthaul.default.capacity[0][0]: the first time must be 0 s",
    ),
    "outages that touch": (
        MINIMAL + "fronthaul: {default: {outages: [{at: 1 s, for: 1 s}, {at: 2 s, for: 1 s}]}}\n",
        "s.yaml:6:59 fronthaul.default.outages[1].at: must begin after the end of the one before",
    ),
    "a key that is no text": (MINIMAL + "1: 2\n", "s.yaml:6:1: a key must be text, not 1"),
    "a tag": (
        MINIMAL + "seed: !!python/object 1\n",
        "s.yaml:6:7 seed: YAML tag python/object is not supported",
    ),
    "no YAML": (
        MINIMAL + "cu: {deadline: 1 ms\n",
        "s.yaml:7:1: not YAML: expected ',' or '}', but got '<stream end>'",
    ),
    "a list": ("- a\n", "s.yaml:1:1: a scenario is a mapping with keys such as duration and ues"),
    "empty": ("", "s.yaml:1:1: a scenario is a mapping with keys such as duration and ues"),
    "description of two lines": (
        MINIMAL + 'description: "a\\nb"\n',
        "s.yaml:6:14 description: must be one line",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_is_told_in_one_line(case: str, load: Load) -> None:
    text, expected = CASES[case]
    with pytest.raises(ScenarioError) as raised:
        load(text)
    assert str(raised.value) == expected


def test_the_first_of_several_is_told(load: Load) -> None:
    with pytest.raises(ScenarioError, match=r"^s\.yaml:1:11 duration: 1 has no unit"):
        load(changed("10 s", "1").replace("10 Hz", "10") + "cu: {late: never}\n")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "w.csv: no points in it"),
        ("t,x,y,z\n0,40,80,1\n0,41,80,1\n", "w.csv:3: time 0 s is not after 0 s"),
        ("0,40,80\n", "w.csv:1: expected four numbers t, x, y, z"),
        ("0,40,80,up\n", "w.csv:1: expected four numbers t, x, y, z"),
        ("0,40,80,nan\n", "w.csv:1: numbers must be finite"),
    ],
)
def test_a_wrong_csv_file_is_told_with_its_line(content: str, message: str, load: Load) -> None:
    Path("w.csv").write_text(content)
    with pytest.raises(ScenarioError) as raised:
        load(changed(LINE, "{kind: csv, file: w.csv}"))
    assert str(raised.value) == f"s.yaml:4:35 ues.ue1.trajectory.file: {message}"


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    from sim.scenario import load_scenario

    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    for path, message in [
        (tmp_path / "none.yaml", "no such file"),
        (tmp_path, "is a folder, not a scenario file"),
        (binary, "not a text file in UTF-8"),
    ]:
        with pytest.raises(ScenarioError) as raised:
            load_scenario(path)
        assert str(raised.value) == f"{path}: {message}"
