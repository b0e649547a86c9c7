"""Optimizers, clipping and learning-rate schedules: `t_optimizer_schedule.npz`."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from magvit.training.optim import OptimizerConfig, adamw, gradient_norm, learning_rate, set_learning_rate

FILE = "t_optimizer_schedule.npz"
NAMES = {
    "emb.weight": "emb/embedding",
    "layer.weight": "layer/kernel",
    "layer.bias": "layer/bias",
    "ln.weight": "ln/scale",
}
WARMUP, CYCLE = 2, 8
BASE = OptimizerConfig(learning_rate=0.01, warmup_steps=WARMUP)
MASKED = OptimizerConfig(learning_rate=0.01, warmup_steps=WARMUP, betas=(0.9, 0.96), weight_decay=0.045)
CONFIGS = {
    "maskgvt": MASKED,
    "lmgvt_plain_adamw": replace(MASKED, decayed="all"),
    "vqgan": BASE,
}
# (warm-up, total) steps of the released configs
SCHEDULES = {
    "vqgan2d_ucf_B": (37, 37_000),
    "vqgan3d_ucf_B": (74, 37_000),
    "vqgan3d_ucf_L": (37, 74_000),
    "vqgan3d_bair_B": (338, 135_200),
    "vqgan3d_bair_L": (169, 135_200),
    "maskgvt_ucf_B": (5000, 74_000),
    "maskgvt_ucf_L": (5000, 74_000),
    "maskgvt_bair_B": (5000, 67_600),
    "maskgvt_bair_L": (5000, 135_200),
    "maskgvt_bair_multitask_B": (5000, 202_800),
    "maskgvt_bair_multitask_L": (5000, 270_400),
}


class Tree(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.emb = nn.Embedding(7, 5)
        self.layer = nn.Linear(4, 5)
        self.ln = nn.LayerNorm(5, bias=False)


def ours(ref, key, name):
    array = ref.tensor(f"{key}/{NAMES[name]}")
    return array.T if name == "layer.weight" else array


def theirs(name, tensor):
    return tensor.T if name == "layer.weight" else tensor


def load(ref, key, tree, attribute):
    with torch.no_grad():
        for name, parameter in tree.named_parameters():
            value = ours(ref, key, name).contiguous()
            if attribute == "grad":
                parameter.grad = value
            else:
                parameter.copy_(value)


@pytest.mark.parametrize("case", CONFIGS)
def test_updates(reference, case):
    ref, tree, config = reference(FILE), Tree(), CONFIGS[case]
    load(ref, "params", tree, "data")
    optimizer = adamw(tree, config)
    for step in range(5):
        load(ref, f"grads/step{step}", tree, "grad")
        set_learning_rate(optimizer, config, step, CYCLE)
        optimizer.step()
        for name, parameter in tree.named_parameters():
            ref.compare(f"{case}/params_after_step{step}/{NAMES[name]}", theirs(name, parameter), atol=1e-6)


def test_clipping(reference):
    ref, tree = reference(FILE), Tree()
    load(ref, "grads/step0", tree, "grad")
    ref.relative("clip/norm", gradient_norm(tree.parameters()))
    nn.utils.clip_grad_norm_(tree.parameters(), 1.0)
    for name, parameter in tree.named_parameters():
        ref.relative(f"clip/clipped/{NAMES[name]}", theirs(name, parameter.grad))


def test_schedules(reference):
    ref = reference(FILE)
    rates = [learning_rate(step, 0.01, WARMUP, CYCLE) for step in range(10)]
    ref.compare("lr_of_step_0_to_9", rates, atol=1e-8)
    for name, (warmup, total) in SCHEDULES.items():
        steps = ref.input(f"schedule/{name}/steps").tolist()
        rates = [learning_rate(step, 1e-4, warmup, total) for step in steps]
        ref.compare(f"schedule/{name}/lr", rates, atol=1e-10)
