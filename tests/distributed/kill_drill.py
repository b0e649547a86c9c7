"""Kill a run at random moments, start the same command again, and compare with the run that was never killed.

python tests/distributed/kill_drill.py --kills 20 --stage transformer --devices 2

Prints one line a kill: when, after which step, and whether all losses and the whole final state are bit-equal.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from magvit.training.checkpoint import load_newest_checkpoint
from tiny_runs import metrics, same, save_tokenizer

PROGRAM = Path(__file__).with_name("tiny_train.py")
RUN = {"num_steps": 24, "checkpoint_every": 4, "sample_every": 6}


def start(stage: str, output: Path, run: dict[str, object], devices: int) -> subprocess.Popen[bytes]:
    options = json.dumps({"run": run, "machine": {"devices": devices}, "resume": True})
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), stage, str(output), options],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def drill(stage: str, kills: int, devices: int, seed: int) -> int:
    """The number of kills after which the run ended as if it had not been killed."""
    chance, equal = random.Random(seed), 0
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        run = dict(RUN, tokenizer=save_tokenizer(home / "tokenizer")) if stage == "transformer" else dict(RUN)
        began = time.monotonic()
        assert start(stage, home / "whole", run, devices).wait() == 0
        duration = time.monotonic() - began
        expected = metrics(home / "whole"), load_newest_checkpoint(home / "whole" / "checkpoints")
        for number in range(1, kills + 1):
            output = home / f"killed_{number}"
            moment = chance.uniform(0.2, 1.0) * duration
            process = start(stage, output, run, devices)
            time.sleep(moment)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            log = output / "metrics.jsonl"
            reached = log.read_text().count("\n") if log.exists() else 0
            assert start(stage, output, run, devices).wait() == 0
            found = metrics(output), load_newest_checkpoint(output / "checkpoints")
            equal += found[0] == expected[0] and same(found[1], expected[1])
            print(f"{stage} {number:2d}: {moment:5.2f} s, step {reached:2d}; bit-equal {equal}/{number}", flush=True)
    return equal


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage", choices=("tokenizer", "transformer"), default="transformer")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    sys.exit(drill(arguments.stage, arguments.kills, arguments.devices, arguments.seed) != arguments.kills)
