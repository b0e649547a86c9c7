"""What networks cost by arithmetic is what PyTorch counts where they run."""

import re
from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from magvit import costs
from magvit.autoregressive import AutoregressiveConfig, AutoregressiveTransformer
from magvit.cli import main
from magvit.decoding import Decoding
from magvit.model_config import ModelConfig
from magvit.perceptual.weights import NETWORKS
from magvit.presets import DISCRIMINATORS, TOKENIZERS, TRANSFORMERS
from magvit.recipes import TRANSFORMER_RECIPES, tokenizer_of
from magvit.tasks import get_task
from magvit.tokenizer import Discriminator, DiscriminatorConfig, TokenizerConfig, VideoTokenizer
from magvit.training.config import TokenizerLossConfig
from magvit.training.costs import clip_flops, comparison_flops
from magvit.training.design import design
from magvit.training.objectives import Adversary, Tokenized, commit_objective, draw, generator_objective
from magvit.transformer import MaskedTransformer, TransformerConfig
from tiny_runs import TOKENIZER, save_tokenizer, tokenizer_run, transformer_run

BERT = TransformerConfig(
    vocab_size=40, max_length=20, hidden_size=16, num_layers=2, num_heads=2, mlp_size=24, num_segments=2
)
MODERN = replace(BERT, block="modern", grid=(2, 3, 3), codebook=(32, 4))
CAUSAL = AutoregressiveConfig(vocab_size=40, max_length=20, hidden_size=16, num_layers=2, num_heads=2, mlp_size=24)


def counted(function, *args, gradients=False):
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        result = function(*args)
        if gradients:
            result.sum().backward()
    return counter.get_total_flops()


def on_meta(kind, config):
    with torch.device("meta"):
        return kind(config).to("meta")  # rotations are made on the CPU


def kept(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("config", "clip_shape"),
    [
        (TOKENIZER, (4, 16, 16)),
        (replace(TOKENIZER, dims=2), (5, 8, 16)),
        (replace(TOKENIZER, haar=(2, 2, 2), linear_path=True, num_res_blocks=2), (8, 32, 16)),
        (TOKENIZERS["3dvq-b"], (16, 128, 128)),
        (TOKENIZERS["2dvq-l-64"], (16, 64, 64)),
    ],
)
def test_tokenizer(config: TokenizerConfig, clip_shape):
    network = on_meta(VideoTokenizer, config)
    video = torch.empty(1, 3, *clip_shape, device="meta")
    latents = torch.empty(1, config.codebook_dim, *config.latent_shape(clip_shape), device="meta")
    encode, decode = costs.encode(config, clip_shape), costs.decode(config, clip_shape)
    assert counted(lambda: network.quantizer.nearest(network.encode_latents(video))) == costs.forward(encode)
    assert counted(network.decode_latents, latents) == costs.forward(decode)
    assert costs.weights(encode + decode) == kept(network)
    both = costs.encoder(config, clip_shape) + decode
    found = counted(lambda: network.decode_latents(network.encode_latents(video)), gradients=True)
    assert found == costs.forward(both) + costs.backward(both)


@pytest.mark.parametrize(
    "config",
    [
        DiscriminatorConfig(base_channels=4, channel_multipliers=(2, 3), clip_shape=(3, 16, 12)),
        DiscriminatorConfig(base_channels=4, channel_multipliers=(2, 3), clip_shape=(4, 9, 16), resample="blur"),
        DiscriminatorConfig(dims=2, base_channels=4, channel_multipliers=(2,), clip_shape=(3, 16, 16)),
        DISCRIMINATORS["3dvq-b"],
    ],
)
def test_discriminator(config):
    network, products = on_meta(Discriminator, config), costs.discriminator(config)
    video = torch.empty(1, 3, *config.clip_shape, device="meta")
    assert costs.weights(products) == kept(network)
    trained = costs.from_data(products)
    assert counted(network, video, gradients=True) == costs.forward(trained) + costs.backward(trained)
    network.requires_grad_(False)
    frozen = costs.fixed(products)
    assert counted(network, video.requires_grad_(), gradients=True) == costs.forward(frozen) + costs.backward(frozen)


@pytest.mark.parametrize("config", [BERT, MODERN, replace(MODERN, num_segments=0, codebook=None)])
def test_masked_transformer(config):
    network, products = on_meta(MaskedTransformer, config), costs.masked_pass(config, 20)
    ids = torch.zeros(1, 20, dtype=torch.long, device="meta")
    segments = ids if config.num_segments else None
    assert costs.weights(products) == kept(network)
    assert counted(network, ids, segments, gradients=True) == costs.forward(products) + costs.backward(products)
    with pytest.raises(ValueError, match="21 tokens"):
        costs.masked_pass(config, 21)


@pytest.mark.parametrize("prefix", [1, 3])
def test_autoregressive_transformer(prefix):
    network, products = on_meta(AutoregressiveTransformer, CAUSAL), costs.causal_steps(CAUSAL, prefix, 6)
    assert costs.weights(products) == kept(network)
    ids = torch.zeros(1, prefix, dtype=torch.long, device="meta")
    assert counted(network.eval().generate, ids, 6, 32, 0.0) == costs.forward(products)
    given = costs.causal_pass(CAUSAL, 9)
    found = counted(network, torch.zeros(1, 9, dtype=torch.long, device="meta"), gradients=True)
    assert found == costs.forward(given) + costs.backward(given)


def test_size_b_as_published():
    """At 16x128x128, and two FLOP for a multiplication with its addition."""
    tokenizer, clip = TOKENIZERS["3dvq-b"], (16, 128, 128)
    size = TRANSFORMERS["magvit-b"]
    config = TransformerConfig(vocab_size=1142, max_length=1026, **vars(size))
    sampling = costs.passes(Decoding()) * costs.forward(costs.masked_pass(config, 1026))
    found = costs.forward(costs.encode(tokenizer, clip)), costs.forward(costs.decode(tokenizer, clip)), sampling
    assert [round(flops / 1e12, 2) for flops in found] == [0.38, 0.74, 2.59]


def test_guidance_is_a_second_pass_where_it_acts():
    assert costs.passes(Decoding(num_steps=4)) == 4
    assert costs.passes(Decoding(num_steps=4, guidance_scale=2.0)) == 8
    assert costs.passes(Decoding(num_steps=4, guidance_scale=2.0, guidance_schedule="interval:0.5,1")) == 6


@pytest.mark.usefixtures("benchmark")
@pytest.mark.parametrize(
    "losses",
    [
        TokenizerLossConfig(perceptual="none"),
        TokenizerLossConfig(perceptual="vgg16", r1_weight=0.0, entropy_weight=0.0),
    ],
)
def test_step_of_the_tokenizer(losses):
    from measure import Account

    run = tokenizer_run(adversarial=True, losses=losses)
    tokenizer, adversary = VideoTokenizer(run.tokenizer), Adversary(Discriminator(run.discriminator), losses)
    video = torch.rand(1, 3, *run.data.clip_shape)
    distance = None if losses.perceptual == "none" else NETWORKS[losses.perceptual].network()
    judge = adversary.discriminator if losses.adversarial_weight else None
    with Account() as account:
        output = tokenizer(video)
        adversary.requires_grad_(False)
        generator_objective(video, output, tokenizer.quantizer, judge, losses, 0, distance)[0].backward()
        adversary.requires_grad_(True)
        if judge is not None:
            adversary(video, output.reconstruction)[0].backward()
    assert account.flops == sum(clip_flops(run).values())


@pytest.mark.usefixtures("benchmark")
def test_step_of_the_transformer(tmp_path):
    from measure import Account

    run = transformer_run(save_tokenizer(tmp_path), tasks=("frame_prediction", "class_generation"), dropout=0.1)
    model = ModelConfig.load(tmp_path)
    generator = design(run, model, ("a", "b")).generator
    network, task = MaskedTransformer(generator.transformer), get_task("class_generation")
    grid = torch.zeros(1, *model.tokenizer.latent_shape(model.clip_shape), dtype=torch.long)
    sample = draw(run, [task], 0, 0, tuple(grid.shape[1:]))
    with Account() as account:
        tokens = Tokenized(grid, grid, grid.bool())
        commit_objective(network, tokens, [sample], [1], generator.vocabulary, run).total.backward()
    parts = clip_flops(run, model, ("a", "b"))
    assert account.flops == parts["transformer forward"] + parts["transformer backward"]
    encode = costs.forward(costs.encode(model.tokenizer, model.clip_shape))
    assert parts["tokenizer"] == 1.5 * encode  # every other clip is asked for its condition
    assert clip_flops(replace(run, token_cache="folder"), model)["tokenizer"] == 0
    with pytest.raises(ValueError, match="expected the config of"):
        clip_flops(run)


def test_a_tokenizer_that_is_not_trained_asks_for_no_gradient():
    whole = clip_flops(tokenizer_run(train="all"))
    decoder = clip_flops(tokenizer_run(train="decoder", init_from="model"))
    assert decoder["tokenizer forward"] == whole["tokenizer forward"]
    assert decoder["tokenizer backward"] < 0.7 * whole["tokenizer backward"]


def test_perceptual_network_as_published():
    """4.09 billion multiply-adds a pass at 224x224, to which images of any size are brought."""
    assert comparison_flops("resnet50", 64, 64) / (3 * 2e9) == pytest.approx(4.09, abs=0.01)


@pytest.mark.parametrize(("flops", "text"), [(0, "0 FLOP"), (999, "999 FLOP"), (2.59e12, "2.59 TFLOP")])
def test_told(flops, text):
    assert costs.readable(flops) == text


@pytest.mark.parametrize("name", TRANSFORMER_RECIPES)
def test_every_recipe_finds_its_tokenizer(name):
    """With which what its steps cost can be told before either is trained."""
    run, tokenizer = TRANSFORMER_RECIPES[name](), tokenizer_of(name)
    assert tokenizer.clip_shape[1:] == run.data.clip_shape[1:]  # 2D ones learn from fewer frames
    assert sum(clip_flops(run, tokenizer).values()) > 0


def test_presets_tell_what_they_cost(capsys):
    assert main(["presets", "--cost"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"3dvq-b +16x128x128 +1,024 +162 MB +379 GFLOP +739 GFLOP", shown)
    assert re.search(r"magvit-b +1,026 +349 MB +216 GFLOP +2.59 TFLOP", shown)
    assert re.search(r"magvit-b-fp-kinetics600 +256 +270,000 +1.41 TFLOP +97.1 EFLOP", shown)
