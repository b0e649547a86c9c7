"""What the networks cost, by arithmetic from their configs alone: FLOP and weights, before anything is built.

FLOP as `torch.utils.flop_counter` counts them: a multiplication and an addition, so two, for each term of a matrix
product or convolution, and nothing for norms, activations, softmax and resampling. A MAGVIT-B pass over 1,026 positions
is 0.22 TFLOP, or 0.11 in the multiply-adds of other papers. What an implementation saves (resampling joined with a
convolution, on the CPU) or adds (activations computed again) is left out: this is the model's own arithmetic.

    costs.encode(config, clip_shape)           # a list of products; of `decode`, `masked_pass`, `causal_steps`, ... too
    costs.forward(products)                    # FLOP
    costs.backward(products)                   # FLOP of their gradients
    costs.weights(products)                    # numbers, 4 bytes each in float32
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from magvit.autoregressive import AutoregressiveConfig
from magvit.decoding import Decoding
from magvit.decoding.guidance import guidance_weight
from magvit.shapes import Grid
from magvit.tokenizer import DiscriminatorConfig, TokenizerConfig
from magvit.transformer import TransformerConfig


@dataclass(frozen=True)
class Product:
    """One matrix product or convolution of a clip, or a norm, which counts nothing.

    Attributes:
        flops: forward.
        weights: numbers it keeps.
        of_input: FLOP of the gradient of what comes in: as many as forward, or none where nobody asks for it.
        of_weights: the same of the weights; of attention, of the other operand.
    """

    flops: int = 0
    weights: int = 0
    of_input: int = 0
    of_weights: int = 0


Products = list[Product]


def forward(products: Iterable[Product]) -> int:
    """FLOP of a pass."""
    return sum(product.flops for product in products)


def backward(products: Iterable[Product]) -> int:
    """FLOP of the gradients that training asks for."""
    return sum(product.of_input + product.of_weights for product in products)


def weights(products: Iterable[Product]) -> int:
    """Numbers that the network keeps."""
    return sum(product.weights for product in products)


def readable(flops: int | float) -> str:
    """As a person reads it: `2.59 TFLOP`."""
    unit = min(max(int(math.log10(max(flops, 1))) // 3, 0), 7)
    return f"{flops / 1000**unit:.3g} {' kMGTPEZ'[unit].strip()}FLOP"


def fixed(products: Iterable[Product]) -> Products:
    """The same where the weights are not trained, so that gradients pass through alone."""
    return [replace(product, of_weights=0) for product in products]


def frozen(products: Iterable[Product]) -> Products:
    """The same where nothing is trained."""
    return [replace(product, of_input=0, of_weights=0) for product in products]


def from_data(products: Products) -> Products:
    """The same where nobody asks for the gradient of what the first one reads."""
    return [replace(products[0], of_input=0), *products[1:]]


def _product(rows: int, inputs: int, outputs: int, weights: int | None = None) -> Product:
    flops = 2 * rows * inputs * outputs
    return Product(flops, inputs * outputs if weights is None else weights, flops, flops)


# --- Tokenizer and discriminator -------------------------------------------------------------------------------------


def _conv(size: Grid, kernel: int, inputs: int, outputs: int, bias: bool) -> Product:
    """A convolution whose output has `size` positions; `kernel` is how many taps it has."""
    return _product(math.prod(size), kernel * inputs, outputs, outputs * (kernel * inputs + bias))


def _norm(channels: int) -> Product:
    return Product(weights=2 * channels)


def _blocks(config: TokenizerConfig, size: Grid, inputs: int, outputs: int) -> Products:
    taps, products = 3**config.dims, Products()
    for _ in range(config.num_res_blocks):
        products += [_norm(inputs), _conv(size, taps, inputs, outputs, False)]
        products += [_norm(outputs), _conv(size, taps, outputs, outputs, False)]
        products += [_conv(size, 1, inputs, outputs, False)] if inputs != outputs else []
        inputs = outputs
    return products


def _levels(config: TokenizerConfig, clip_shape: Grid) -> list[tuple[Grid, int]]:
    """Size and width of each level of the encoder, the largest first."""
    config.latent_shape(clip_shape)
    t, h, w = (size // block for size, block in zip(clip_shape, config.haar, strict=True))
    levels = []
    for i, multiplier in enumerate(config.channel_multipliers):
        if i:
            t, h, w = (t // 2 if config.dims == 3 and config.temporal_downsample[i - 1] else t), h // 2, w // 2
        levels.append(((t, h, w), config.base_channels * multiplier))
    return levels


def _beside(config: TokenizerConfig, clip_shape: Grid) -> Products:
    """What leads around the encoder: Haar's transform, which is fixed, and the linear path, measured once."""
    positions = math.prod(size // block for size, block in zip(clip_shape, config.haar, strict=True))
    block = math.prod(config.haar)
    haar = [_product(3 * positions, block, block, 0)] if block > 1 else []
    rows, pixels = math.prod(config.latent_shape(clip_shape)), 3 * math.prod(config.strides)
    path = [_product(rows, pixels, config.codebook_dim, 0)] if config.linear_path else []
    return fixed(haar + path)


def encoder(config: TokenizerConfig, clip_shape: Grid) -> Products:
    """Pixels to latents."""
    levels, taps = _levels(config, clip_shape), 3**config.dims
    products = from_data([_conv(levels[0][0], taps, config.pixel_channels, config.base_channels, False)])
    inputs = config.base_channels
    for size, width in levels:
        products, inputs = products + _blocks(config, size, inputs, width), width
    size, width = levels[-1]
    products += [*_blocks(config, size, width, width), _norm(width), _conv(size, 1, width, config.codebook_dim, True)]
    return products + frozen(_beside(config, clip_shape))


def nearest(config: TokenizerConfig, clip_shape: Grid) -> Products:
    """The distance of each latent to each code. It keeps the codebook."""
    positions = math.prod(config.latent_shape(clip_shape))
    return [_product(positions, config.codebook_dim, config.codebook_size)]


def encode(config: TokenizerConfig, clip_shape: Grid) -> Products:
    """Pixels of one clip to tokens. ValueError where the strides do not divide the clip."""
    return encoder(config, clip_shape) + nearest(config, clip_shape)


def decode(config: TokenizerConfig, clip_shape: Grid) -> Products:
    """Tokens, already looked up, to pixels of one clip. ValueError likewise."""
    levels, taps = _levels(config, clip_shape)[::-1], 3**config.dims
    size, inputs = levels[0]
    products = [_conv(size, taps, config.codebook_dim, inputs, True), *_blocks(config, size, inputs, inputs)]
    for i, (size, width) in enumerate(levels):
        products += [_conv(size, taps, inputs, inputs, True)] if i else []
        products, inputs = products + _blocks(config, size, inputs, width), width
    products += [_norm(inputs), _conv(size, taps, inputs, config.pixel_channels, True)]
    return products + _beside(config, clip_shape)


def discriminator(config: DiscriminatorConfig) -> Products:
    """The logits of one clip. ValueError without a clip shape."""
    if config.clip_shape is None:
        raise ValueError("the discriminator's clip_shape is None, expected frames, height and width")
    (t, h, w), taps, inputs = config.clip_shape, 3**config.dims, config.base_channels
    frames = t if config.dims == 2 else 1
    products = [_conv((t, h, w), taps, 3, inputs, True)]
    for multiplier in config.channel_multipliers:
        outputs = config.base_channels * multiplier
        products.append(_conv((t, h, w), taps, inputs, inputs, True))
        t, h, w = (t if config.dims == 2 else -(-t // 2)), -(-h // 2), -(-w // 2)
        if config.resample == "blur":  # of both branches
            products += fixed([_product(t * h * w, 4**config.dims, inputs, 0)] * 2)
        products += [_conv((t, h, w), 1, inputs, outputs, False), _conv((t, h, w), taps, inputs, outputs, True)]
        inputs = outputs
    dense = _conv((frames, 1, 1), t // frames * h * w, inputs, inputs, True)
    return [*products, _conv((t, h, w), taps, inputs, inputs, True), dense, _conv((frames, 1, 1), 1, inputs, 1, True)]


# --- Transformers ----------------------------------------------------------------------------------------------------


def _linear(rows: int, inputs: int, outputs: int, bias: bool = True) -> Product:
    return _product(rows, inputs, outputs, outputs * (inputs + bias))


def _attention(queries: int, keys: int, hidden: int) -> Products:
    """Scores, and the values they weigh."""
    return [_product(queries, hidden, keys, 0)] * 2


def masked_pass(config: TransformerConfig, length: int) -> Products:
    """All logits of one sequence. ValueError where it is longer than the model takes."""
    if length > config.max_length:
        raise ValueError(f"the sequence has {length} tokens, this transformer takes at most {config.max_length}")
    hidden, modern = config.hidden_size, config.block == "modern"
    rows = config.vocab_size + config.num_segments + (0 if modern else config.max_length)
    products = [Product(weights=rows * hidden)]
    for _ in range(config.num_layers):
        products += [_linear(length, hidden, 3 * hidden, not modern), *_attention(length, length, hidden)]
        products += [_linear(length, hidden, hidden, not modern)]
        products += [_linear(length, hidden, config.mlp_size * (2 if modern else 1), not modern)]
        products += [_linear(length, config.mlp_size, hidden, not modern)]
    if not modern:
        norms = Product(weights=2 * (2 * config.num_layers + 2) * hidden + config.vocab_size)  # and the head's bias
        tied = _product(length, hidden, config.vocab_size, 0)
        return [*products, norms, _linear(length, hidden, hidden), tied]
    products += [Product(weights=(2 * config.num_layers + 1) * hidden)]
    products += [_linear(length, hidden, config.vocab_size, False)]
    if config.codebook is not None:
        codes, size = config.codebook
        products += from_data([_linear(codes, size, hidden, False)])  # once a pass, whatever the batch
        products += [_linear(length, hidden, size, False), *fixed([_product(length, size, codes, 0)])]
    return products


def passes(decoding: Decoding) -> int:
    """How many sequences the transformer reads for a sample: one a step, and a second where guidance acts."""
    guided = [
        decoding.guidance_scale * guidance_weight(decoding.guidance_schedule, step / decoding.num_steps) != 0
        for step in range(decoding.num_steps)
    ]
    return decoding.num_steps + sum(guided)


def causal_pass(config: AutoregressiveConfig, length: int) -> Products:
    """All logits of one sequence that is given. Positions that the mask hides are counted, as PyTorch does.

    ValueError where it is longer than the model takes.
    """
    return _causal(config, length, length**2)


def causal_steps(config: AutoregressiveConfig, prefix: int, num_tokens: int) -> Products:
    """`num_tokens` one after the other behind `prefix` tokens, with keys and values kept. ValueError likewise."""
    length = prefix + num_tokens - 1
    return _causal(config, length, prefix**2 + sum(range(prefix + 1, length + 1)))


def _causal(config: AutoregressiveConfig, length: int, seen: int) -> Products:
    """Logits of `length` positions, with `seen` pairs of one that looks and one that is looked at."""
    if length > config.max_length:
        raise ValueError(f"the sequence has {length} tokens, this transformer takes at most {config.max_length}")
    hidden = config.hidden_size
    products = [Product(weights=(config.vocab_size + config.max_length + 2) * hidden)]
    for _ in range(config.num_layers):
        products += [_linear(length, hidden, 3 * hidden, False), *_attention(1, seen, hidden)]
        products += [_linear(length, hidden, hidden, False), Product(weights=4 * hidden)]
        products += [_linear(length, hidden, config.mlp_size), _linear(length, config.mlp_size, hidden)]
    return [*products, _linear(length, hidden, config.vocab_size)]
