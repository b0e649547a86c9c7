"""What a training step costs, told by the run alone: FLOP as `magvit.costs` counts them, for one clip, by part.

Optimizer, norms and activations count nothing, and what is computed again to save memory is left out. A penalty that is
taken every few steps counts its share. FLOP of a whole run:

    run.loop.num_steps * run.loop.global_batch_size * sum(clip_flops(run, model).values())
"""

from functools import cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from magvit import costs
from magvit.costs import backward, forward
from magvit.model_config import ModelConfig
from magvit.perceptual import PerceptualNetwork
from magvit.perceptual.weights import NETWORKS
from magvit.tasks import get_task
from magvit.training.config import TokenizerRun, TransformerRun
from magvit.training.design import design
from magvit.transformer import TransformerConfig


def clip_flops(
    run: TokenizerRun | TransformerRun, tokenizer: ModelConfig | None = None, classes: tuple[str, ...] = ()
) -> dict[str, int | float]:
    """FLOP of one step, forward and backward, for each of its clips, by part.

    Args:
        run: of either stage.
        tokenizer: stage 2 alone: the model that `run.tokenizer` names, which need not exist yet.
        classes: of the data; each is one more row of logits, and no more.

    Raises:
        ValueError: the parts do not fit each other, or stage 2 is not told its tokenizer.
    """
    if isinstance(run, TokenizerRun):
        return _of_tokenizer(run)
    if tokenizer is None:
        raise ValueError(f"tokenizer is None, expected the config of {run.tokenizer}")
    return _of_transformer(run, tokenizer, classes)


def _of_tokenizer(run: TokenizerRun) -> dict[str, int | float]:
    """A step with its quantizer: both networks, each with the objective that it minimises."""
    config, clip_shape, losses = run.tokenizer, run.data.clip_shape, run.losses
    encoder, decoder = costs.encoder(config, clip_shape), costs.decode(config, clip_shape)
    nearest = costs.nearest(config, clip_shape)
    entropy = nearest if losses.entropy_weight else []
    if run.train == "decoder":
        encoder, decoder, entropy = costs.frozen(encoder), costs.from_data(decoder), costs.frozen(entropy)
    parts: dict[str, int | float] = {
        "tokenizer forward": forward(encoder + nearest + decoder + entropy),
        "tokenizer backward": backward(encoder + decoder + entropy),
    }
    if losses.perceptual != "none" and losses.perceptual_weight:
        parts["perceptual network"] = clip_shape[0] * comparison_flops(losses.perceptual, *clip_shape[1:])
    if losses.adversarial_weight:
        judge = costs.discriminator(run.discriminator)
        trained = costs.from_data(judge)
        parts["discriminator on the tokenizer's behalf"] = forward(judge) + backward(costs.fixed(judge))
        parts["discriminator"] = 2 * (forward(trained) + backward(trained))
        if losses.r1_weight > 0:  # the gradient of pixels, and what is behind it and behind the logits once more
            inner, first, last = backward(costs.fixed(judge)), judge[0].flops, judge[-1].flops
            parts["R1"] = (inner + 2 * inner - last + first) / losses.r1_interval
    return parts


def _of_transformer(run: TransformerRun, tokenizer: ModelConfig, classes: tuple[str, ...]) -> dict[str, int | float]:
    """A step on the mean of the tasks; with a condition prefix, on the longest sequences."""
    generator = design(run, tokenizer, classes).generator
    assert generator is not None
    config = generator.transformer
    if isinstance(config, TransformerConfig):
        products = costs.masked_pass(config, config.max_length)
    else:
        products = costs.causal_pass(config, config.max_length)
    weights = run.task_weights or (1.0,) * len(run.tasks)
    shown = sum(weight for name, weight in zip(run.tasks, weights, strict=True) if get_task(name).needs_video) / sum(
        weights
    )
    encode = forward(costs.encode(tokenizer.tokenizer, run.data.clip_shape))
    return {
        "tokenizer": 0 if run.token_cache else (1 + shown) * encode,
        "transformer forward": forward(products),
        "transformer backward": backward(products),
    }


@cache
def comparison_flops(network: PerceptualNetwork, height: int, width: int) -> int:
    """FLOP of comparing one true and one made image, and of the gradient of the latter, counted on a device that
    computes nothing.
    """
    real, fake = torch.empty(2, 1, 3, height, width, device="meta").unbind()
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        NETWORKS[network].network().to("meta")(real, fake.requires_grad_()).backward()
    return counter.get_total_flops()
