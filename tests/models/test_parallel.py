"""Two processes train one network: weights stay equal bit by bit, samples differ, and it learns."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
PROCESS = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from models.config import Schedule
from models.parallel import join, leave
from models.training import Trainer
from tests.models.kit import SITE, free_space, random_positions, tiny_config
ranks = join("cpu")
folder = Path(sys.argv[1])
config = tiny_config(
    joint=Schedule(samples=2_048, batch=64, rate=3e-3, warmup=512, decay=1_024),
    quantise_from=256,
    bs_dropout=0.2,
)
points = free_space(random_positions(400, 1)), free_space(random_positions(100, 2))
trainer = Trainer(config, SITE, *points, folder / "state.pt", report=lambda line: None, ranks=ranks)
before = trainer.validate()["all_mean_m"]
trainer.train()
state = trainer.networks.state_dict() | {"steps": trainer.steps}
drawn = trainer.samples.draw(4)[1]
leave()
after = trainer.validate()["all_mean_m"]
torch.save([state, drawn, before, after, trainer.done], folder / f"{ranks.rank}.out")
"""


@pytest.mark.timeout(300)
def test_two_processes_stay_in_step_and_learn(tmp_path: Path) -> None:
    script = tmp_path / "process.py"
    script.write_text(PROCESS)
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script),
        str(tmp_path),
    ]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]
    one, other = (torch.load(tmp_path / f"{rank}.out", weights_only=True) for rank in (0, 1))
    for name, value in one[0].items():
        assert torch.equal(value, other[0][name]), name
    assert not torch.equal(one[1], other[1])
    assert one[4] == other[4] == 2_048
    assert one[3] < one[2] / 2, f"{one[2]:.1f} m before, {one[3]:.1f} m after"
    kept = torch.load(tmp_path / "state.pt", weights_only=True)["trained_on"]
    assert (kept["samples"], kept["points"], kept["processes"]) == (2_048, 400, 2)
