"""`magvit presets`: what there is, and what it costs."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from magvit.costs import Products
    from magvit.training.config import LoopConfig


@dataclass(frozen=True)
class Presets:
    """List packaged models, tasks, sizes, recipes and protocols, or what they cost.

    For example

        magvit presets
        magvit presets --cost
    """

    cost: bool = False
    """Weights and FLOP of sizes and recipes instead, by arithmetic from their configs: two FLOP for a multiplication
    with its addition, as PyTorch counts."""

    def run(self) -> None:
        """Print the lists."""
        for line in costs() if self.cost else lists():
            print(line)


def lists() -> Iterable[str]:
    """What there is, line by line."""
    from magvit.evaluation.published import IN_PARTS, PROTOCOLS
    from magvit.hub import packaged_models
    from magvit.presets import TOKENIZERS, TRANSFORMERS
    from magvit.recipes import TOKENIZER_RECIPES, TRANSFORMER_RECIPES
    from magvit.tasks import TASKS

    yield f"packaged models: {', '.join(packaged_models()) or 'none'}"
    yield "\ntasks"
    for task in TASKS.values():
        needs = [word for word, need in (("a clip", task.needs_video), ("a label", task.class_conditional)) if need]
        yield f"  {task.name:24} {task.alias:4} needs {' and '.join(needs) or 'nothing'}"
    yield "\ntokenizers"
    for name, tokenizer in TOKENIZERS.items():
        levels = " ".join(str(factor * tokenizer.base_channels) for factor in tokenizer.channel_multipliers)
        yield f"  {name:24} {tokenizer.dims}D, channels {levels}, {tokenizer.codebook_size} codes"
    yield "\ntransformers"
    for name, size in TRANSFORMERS.items():
        yield f"  {name:24} {size.num_layers} layers of {size.hidden_size}, {size.num_heads} heads"
    yield "\nrecipes"
    for stage, recipes in (("tokenizer", TOKENIZER_RECIPES), ("transformer", TRANSFORMER_RECIPES)):
        yield f"  magvit train {stage} RECIPE"
        for name, recipe in recipes.items():
            yield f"    {name:24} {(recipe.__doc__ or '').splitlines()[0]}"
    yield "\nprotocols of magvit evaluate"
    for protocol in PROTOCOLS.values():
        samples = f"{protocol.num_samples:,} samples x {protocol.repeats}" if protocol.num_samples else "all clips"
        yield f"  {protocol.name:28} {protocol.subject}, {samples}: {', '.join(protocol.metrics)}"
    for name, parts in IN_PARTS.items():
        yield f"  {name:28} mean of all tasks of {' and '.join(part.name for part in parts)}"


def costs() -> Iterable[str]:
    """What it costs, line by line."""
    import math
    from dataclasses import asdict

    from magvit import costs
    from magvit.decoding import Decoding
    from magvit.presets import DISCRIMINATORS, TOKENIZERS, TRANSFORMERS
    from magvit.recipes import TOKENIZER_RECIPES, TRANSFORMER_RECIPES, tokenizer_of
    from magvit.tasks import Vocabulary
    from magvit.training.costs import clip_flops
    from magvit.transformer import TransformerConfig

    passes = costs.passes(Decoding())
    yield "FLOP: two for a multiplication with its addition. Weights in float32; in bfloat16 half.\n"
    yield f"{'tokenizer':24} {'clip':>11} {'tokens':>8} {'weights':>9} {'encode':>12} {'decode':>12}"
    for name, tokenizer in TOKENIZERS.items():
        clip = DISCRIMINATORS[name].clip_shape
        assert clip is not None
        encode, decode = costs.encode(tokenizer, clip), costs.decode(tokenizer, clip)
        there, back = (costs.readable(costs.forward(products)) for products in (encode, decode))
        row = (
            f"{'x'.join(map(str, clip)):>11} {math.prod(tokenizer.latent_shape(clip)):8,} {_megabytes(encode + decode)}"
        )
        yield f"{name:24} {row} {there:>12} {back:>12}"
    yield f"\n{'transformer':24} {'':11} {'sequence':>8} {'weights':>9} {'a pass':>12} {f'{passes} steps':>12}"
    vocabulary = Vocabulary(codebook_size=1024)
    for name, size in TRANSFORMERS.items():
        for tokens in (1024, 4096):
            length = vocabulary.prefix_length + tokens
            config = TransformerConfig(vocab_size=vocabulary.size, max_length=length, **asdict(size))
            products = costs.masked_pass(config, length)
            once, sample = (costs.readable(n * costs.forward(products)) for n in (1, passes))
            yield f"{name:24} {'':11} {length:8,} {_megabytes(products)} {once:>12} {sample:>12}"
    yield f"\n{'training recipe':24} {'clips a step':>20} {'steps':>9} {'a clip':>12} {'whole run':>12}"
    for name, stage_1 in TOKENIZER_RECIPES.items():
        yield _of_run(name, stage_1().loop, sum(clip_flops(stage_1()).values()))
    for name, stage_2 in TRANSFORMER_RECIPES.items():
        yield _of_run(name, stage_2().loop, sum(clip_flops(stage_2(), tokenizer_of(name)).values()))


def _megabytes(products: "Products") -> str:
    from magvit.costs import weights

    return f"{4 * weights(products) / 1e6:6,.0f} MB"


def _of_run(name: str, loop: "LoopConfig", flops: int | float) -> str:
    from magvit.costs import readable

    whole = readable(loop.num_steps * loop.global_batch_size * flops)
    return f"{name:24} {loop.global_batch_size:20,} {loop.num_steps:9,} {readable(flops):>12} {whole:>12}"
