"""One of the tiny runs as a program, so that an engine can start several processes of it.

python tiny_train.py tokenizer|transformer OUTPUT '{"machine": {"devices": 2}, "run": {...}, "resume": true}'

With "double" everything is computed in float64: what then differs between two runs is their mathematics.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from magvit.data.loader import DataConfig
from magvit.training import engine
from magvit.training.config import TokenizerLossConfig
from magvit.training.engine import Machine
from magvit.training.optim import OptimizerConfig
from magvit.training.train_tokenizer import train_tokenizer
from magvit.training.train_transformer import train_transformer
from tiny_runs import tokenizer_run, transformer_run

ADAM = OptimizerConfig(
    1e-3, betas=(0.9, 0.99), warmup_steps=1
)  # no rate at first: the first two steps see equal weights
EVERYTHING = TokenizerLossConfig(perceptual="none", lecam_weight=0.5)


def train_in_double() -> None:
    """Every number in float64, also where training says `float()`."""
    torch.set_default_dtype(torch.float64)
    setattr(torch.Tensor, "float", torch.Tensor.double)  # noqa: B010 - mypy refuses the plain assignment
    engine.PRECISIONS["float32"] = "64-true"  # type: ignore[assignment]


def main() -> None:
    stage, output, options = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
    if options.get("double"):
        train_in_double()
    changes: dict[str, Any] = options.get("run", {})
    if "folder" in changes:
        changes["data"] = DataConfig(clip_shape=(4, 16, 16), folder=changes.pop("folder"))
    machine = Machine("cpu", **options.get("machine", {}))
    if stage == "tokenizer":
        optimizers = {"generator_optimizer": ADAM, "discriminator_optimizer": ADAM}
        run = tokenizer_run(adversarial=True, losses=EVERYTHING, **optimizers, **changes)
        train_tokenizer(run, output, machine=machine, resume=options.get("resume", False))
    else:
        run = transformer_run(optimizer=ADAM, **{"dropout": 0.0, **changes})
        train_transformer(run, output, machine=machine, resume=options.get("resume", False))


if __name__ == "__main__":
    main()
