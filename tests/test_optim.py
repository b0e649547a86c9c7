import math
import re
from dataclasses import asdict
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

from magvit.data.loader import DataConfig
from magvit.tokenizer import Discriminator, DiscriminatorConfig, TokenizerConfig, VideoTokenizer
from magvit.training.config import TokenizerLossConfig
from magvit.training.optim import (
    OptimizerConfig,
    adamw,
    clip_gradients,
    gradient_norm,
    learning_rate,
    set_learning_rate,
)
from magvit.transformer import MaskedTransformer, TransformerConfig

BERT = TransformerConfig(
    vocab_size=20, max_length=9, hidden_size=8, num_layers=1, num_heads=2, mlp_size=16, num_segments=2
)
VQ = TokenizerConfig(
    base_channels=4, channel_multipliers=(1, 2), temporal_downsample=(True,), num_res_blocks=1, norm_groups=2
)
GAN = DiscriminatorConfig(base_channels=2, channel_multipliers=(2,), clip_shape=(2, 4, 4))


# --- schedule


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 0.0),  # the first update of a warm-up does nothing
        (1, 0.1),
        (5, 0.5),
        (10, 1.0),  # the peak
        (35, (1 + math.cos(math.pi / 4)) / 2),
        (60, 0.5),  # half way down
        (110, 1.0),  # past the end the cosine starts over
        (160, 0.5),
    ],
)
def test_learning_rate_with_warmup(step, expected):
    assert learning_rate(step, 2.0, warmup_steps=10, total_steps=110) == pytest.approx(2 * expected)


def test_learning_rate_without_warmup_starts_at_its_peak_and_ends_near_zero():
    rates = [learning_rate(step, 1e-4, 0, 1000) for step in range(1000)]
    assert rates[0] == 1e-4
    assert all(a > b for a, b in pairwise(rates))
    assert rates[500] == pytest.approx(5e-5)
    assert 0 < rates[-1] < 1e-9
    assert learning_rate(1000, 1e-4, 0, 1000) == 1e-4


def test_learning_rate_of_a_run_that_is_all_warmup():
    assert [learning_rate(step, 1.0, 4, 4) for step in range(4)] == [0, 0.25, 0.5, 0.75]
    assert learning_rate(1, 1.0, 10, 4) == 0.1


def test_every_group_gets_the_rate_of_the_step():
    config = OptimizerConfig(2.0, warmup_steps=10)
    optimizer = adamw(nn.Linear(2, 2), config)
    assert set_learning_rate(optimizer, config, 5, 110) == 1.0
    assert [group["lr"] for group in optimizer.param_groups] == [1.0, 1.0]


# --- weight decay


def decayed(module: nn.Module) -> set[str]:
    optimizer = adamw(module, OptimizerConfig(weight_decay=0.5))
    owned = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    assert {id(p) for p in owned} == {id(p) for p in module.parameters()}
    assert len(owned) == len(list(module.parameters()))
    groups = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert set(groups.values()) <= {0.0, 0.5}
    return {name for name, p in module.named_parameters() if groups[id(p)]}


def test_the_transformer_decays_its_linear_layers_and_nothing_else():
    """Not the tables, tied output included, not biases, not norms."""
    model = MaskedTransformer(BERT)
    linear = {f"{name}.weight" for name, layer in model.named_modules() if isinstance(layer, nn.Linear)}
    assert decayed(model) == linear
    left = {name for name, _ in model.named_parameters()} - linear
    assert {"token_embedding.weight", "position_embedding.weight", "segment_embedding.weight", "head_bias"} <= left


@pytest.mark.parametrize("model", [VideoTokenizer(VQ), Discriminator(GAN)], ids=["tokenizer", "discriminator"])
def test_convolutions_decay_and_codebook_norms_and_biases_do_not(model):
    kernels = {name for name, p in model.named_parameters() if p.ndim >= 2 and name != "quantizer.codebook"}
    assert decayed(model) == kernels


def test_decay_shrinks_only_kernels():
    torch.manual_seed(0)
    model = MaskedTransformer(BERT)
    before = {name: p.clone() for name, p in model.named_parameters()}
    config = OptimizerConfig(learning_rate=0.1, weight_decay=0.5)
    optimizer = adamw(model, config)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    names = decayed(model)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter, before[name] * (0.95 if name in names else 1.0))


def test_a_module_of_one_kind_of_parameter_has_one_group():
    optimizer = adamw(nn.GroupNorm(1, 2), OptimizerConfig(weight_decay=0.5))
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.0]


def test_betas_and_epsilon_are_the_papers():
    optimizer = adamw(nn.Linear(1, 1), OptimizerConfig())
    assert optimizer.defaults["betas"] == (0.0, 0.99)
    assert optimizer.defaults["eps"] == 1e-8
    assert asdict(OptimizerConfig())["weight_decay"] == 0.0


def test_gradient_norm_joins_all_tensors():
    a, b, c = (nn.Parameter(torch.zeros(2)) for _ in range(3))
    a.grad, b.grad = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 4.0])
    assert gradient_norm([a, b, c]).item() == 5


@pytest.mark.parametrize(("max_norm", "scale"), [(None, 1), (10.0, 1), (1.0, 0.2)])
def test_clipping_scales_all_gradients_together_and_returns_the_norm_before(max_norm, scale):
    a, b, c = (nn.Parameter(torch.zeros(2)) for _ in range(3))
    a.grad, b.grad = torch.tensor([3.0, 0.0]), torch.tensor([0.0, -4.0])
    assert clip_gradients((p for p in (a, b, c)), max_norm).item() == 5
    torch.testing.assert_close(a.grad, torch.tensor([3.0 * scale, 0.0]))
    torch.testing.assert_close(b.grad, torch.tensor([0.0, -4.0 * scale]))
    assert c.grad is None


def test_clipping_does_not_wait_for_the_norm():
    """On the meta device, where no value can be read."""
    layer = nn.Linear(2, 2, device="meta")
    layer.weight.grad = torch.empty(2, 2, device="meta")
    assert clip_gradients(layer.parameters(), 1.0).device.type == "meta"


@pytest.mark.usefixtures("process_group")
def test_gradients_shared_out_between_processes_have_one_norm():
    mesh = init_device_mesh("cpu", (1,))
    parameter = nn.Parameter(distribute_tensor(torch.zeros(2, 2), mesh, [Shard(0)]))
    parameter.grad = distribute_tensor(torch.full((2, 2), 3.0), mesh, [Shard(0)])
    norm = clip_gradients([parameter], 1.0)
    assert type(norm) is torch.Tensor
    assert norm.item() == 6
    torch.testing.assert_close(parameter.grad.full_tensor(), torch.full((2, 2), 0.5))
    optimizer = torch.optim.AdamW([parameter], lr=0.1, fused=True)
    optimizer.step()
    torch.testing.assert_close(parameter.full_tensor(), torch.full((2, 2), -0.1))


def test_one_kernel_updates_like_many_and_other_devices_do_without():
    models = [nn.Linear(3, 3), nn.Linear(3, 3)]
    models[1].load_state_dict(models[0].state_dict())
    optimizers = [adamw(model, OptimizerConfig(weight_decay=0.1)) for model in models]
    assert optimizers[0].defaults["fused"] is True
    for group in optimizers[1].param_groups:
        group["fused"] = False
    for step in range(3):
        for model, optimizer in zip(models, optimizers, strict=True):
            for parameter in model.parameters():
                parameter.grad = torch.full_like(parameter, step - 1.5)
            optimizer.step()
    for one, many in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(one, many, rtol=0, atol=1e-7)
    assert adamw(nn.Linear(1, 1, device="meta"), OptimizerConfig()).defaults["fused"] is False


@pytest.mark.parametrize(
    ("change", "message"),
    [({"learning_rate": 0.0}, "learning_rate is 0.0"), ({"clip_norm": -1.0}, "clip_norm is -1.0")],
)
def test_values_that_cannot_train_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        OptimizerConfig(**change)


@pytest.mark.parametrize(
    ("config", "name", "value"),
    [
        *((OptimizerConfig, "learning_rate", value) for value in (0.0, math.nan, math.inf)),
        *((OptimizerConfig, "weight_decay", value) for value in (-0.1, math.nan)),
        (OptimizerConfig, "warmup_steps", -1),
        (OptimizerConfig, "clip_norm", math.nan),
        *((TokenizerLossConfig, name, -1.0) for name in ("commitment_weight", "adversarial_weight", "entropy_boost")),
        (TokenizerLossConfig, "lecam_weight", math.nan),
        (TokenizerLossConfig, "entropy_temperature", 0.0),
        *((DataConfig, name, value) for name in ("stride", "short_side") for value in (0, -2)),
        *((DataConfig, name, value) for name in ("target_fps", "fps") for value in (0.0, math.nan)),
        (DataConfig, "clip_shape", (0, 16, 16)),
    ],
)
def test_numbers_that_cannot_train_are_refused(config, name, value):
    with pytest.raises(ValueError, match=f"{name} is {re.escape(str(value))}, expected "):
        config(**{name: value})
