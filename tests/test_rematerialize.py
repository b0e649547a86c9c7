from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from magvit.nn.rematerialize import recompute
from magvit.tokenizer import Discriminator, DiscriminatorConfig, VideoTokenizer
from magvit.tokenizer.losses import r1_penalty
from magvit.training.optim import OptimizerConfig, adamw, clip_gradients
from magvit.transformer import MaskedTransformer, TransformerConfig
from tiny_runs import TOKENIZER

VQ = replace(TOKENIZER, channel_multipliers=(1, 2, 2), norm_groups=4)
GAN = DiscriminatorConfig(base_channels=4, channel_multipliers=(2, 2), clip_shape=(4, 16, 16))
BERT = TransformerConfig(
    vocab_size=20, max_length=9, hidden_size=16, num_layers=3, num_heads=2, mlp_size=32, dropout=0.3
)


def video() -> torch.Tensor:
    return torch.rand(2, 3, 4, 16, 16, generator=torch.Generator().manual_seed(0))


def reconstruction(tokenizer: VideoTokenizer) -> torch.Tensor:
    return (tokenizer(video()).reconstruction - video()).square().mean()


def discrimination_with_r1(discriminator: Discriminator) -> torch.Tensor:
    clip = video().requires_grad_()
    logits = discriminator(clip)
    return logits.mean() + 100 * r1_penalty(logits, clip)


def masked_prediction(transformer: MaskedTransformer) -> torch.Tensor:
    torch.manual_seed(3)  # of the dropout
    return transformer(torch.arange(18).view(2, 9)).float().square().mean()


CASES = {
    "tokenizer": (lambda: VideoTokenizer(VQ), reconstruction),
    "tokenizer-2d": (lambda: VideoTokenizer(replace(VQ, dims=2)), reconstruction),
    "discriminator-r1": (lambda: Discriminator(GAN), discrimination_with_r1),
    "transformer-dropout": (lambda: MaskedTransformer(BERT), masked_prediction),
}


def loss_and_gradients(model: nn.Module, loss_of, bfloat16: bool) -> list[torch.Tensor]:
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        loss = loss_of(model)
    loss.backward()
    return [loss.detach(), *(parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None)]


@pytest.mark.parametrize("bfloat16", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("case", CASES)
def test_losses_and_gradients_do_not_change(case, bfloat16):
    make, loss_of = CASES[case]
    torch.manual_seed(0)
    model = make()
    names = list(model.state_dict())
    expected = loss_and_gradients(model, loss_of, bfloat16)
    assert any(gradient.any() for gradient in expected[1:])
    for levels in (1, 2, 99):
        model.rematerialize = levels
        found = loss_and_gradients(model, loss_of, bfloat16)
        assert len(found) == len(expected)
        for one, other in zip(expected, found, strict=True):
            assert torch.equal(one, other)
    assert list(model.state_dict()) == names


@pytest.mark.usefixtures("process_group")
def test_gradients_under_data_parallel():
    torch.manual_seed(0)
    tokenizer = VideoTokenizer(VQ)
    expected = loss_and_gradients(tokenizer, reconstruction, False)
    tokenizer.rematerialize = 2
    found = loss_and_gradients(DistributedDataParallel(tokenizer), reconstruction, False)
    for one, other in zip(expected, found, strict=True):
        assert torch.equal(one, other)


@pytest.mark.filterwarnings("ignore:FSDP2-wrapped module")
@pytest.mark.usefixtures("process_group")
def test_updates_of_sharded_layers():
    """With the fused optimizer and clipping, as a run with strategy fsdp does it."""
    mesh, found = init_device_mesh("cpu", (1,)), []
    for layers in (0, 2):
        torch.manual_seed(0)
        transformer = MaskedTransformer(BERT)
        for layer in transformer.layers:
            fully_shard(layer, mesh=mesh)
        fully_shard(transformer, mesh=mesh)
        transformer.rematerialize = layers
        optimizer = adamw(transformer, OptimizerConfig(learning_rate=0.01))
        for _ in range(2):
            masked_prediction(transformer).backward()
            clip_gradients(transformer.parameters(), 0.01)
            optimizer.step()
            optimizer.zero_grad()
        found.append({name: tensor.full_tensor() for name, tensor in transformer.state_dict().items()})
    for name, tensor in found[0].items():
        assert torch.equal(tensor, found[1][name])


def kept_bytes(model: nn.Module, loss_of) -> int:
    """Size of what autograd keeps for the backward pass."""
    kept = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss_of(model)  # its graph, and with it every kept tensor, lives until the hooks are gone
    return sum(kept.values())


@pytest.mark.parametrize(
    ("case", "levels", "share"), [("tokenizer", 1, 0.6), ("tokenizer", 3, 0.25), ("transformer-dropout", 3, 0.4)]
)
def test_less_is_kept(case, levels, share):
    make, loss_of = CASES[case]
    model = make()
    before = kept_bytes(model, loss_of)
    model.rematerialize = levels
    assert kept_bytes(model, loss_of) < share * before


def test_levels_are_taken_from_the_largest_on_both_sides():
    tokenizer = VideoTokenizer(VQ)
    calls = []
    for name, part in (("encoder", tokenizer.encoder), ("decoder", tokenizer.decoder)):
        for i, level in enumerate(part.levels):
            level.register_forward_hook(lambda *_, label=f"{name} {i}": calls.append(label))
    tokenizer.rematerialize = 1
    assert tokenizer.rematerialize == 1
    reconstruction(tokenizer).backward()
    assert sorted({call for call in calls if calls.count(call) > 1}) == ["decoder 2", "encoder 0"]


def test_without_gradients_nothing_is_computed_twice():
    calls = []
    with torch.no_grad():
        recompute(True, lambda x: calls.append(1) or x, torch.ones(1))
    assert len(calls) == 1
