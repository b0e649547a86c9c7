"""How long each way of making a clip takes: MAGVIT, and what the paper compares it with (Figure 5, Table 6).

All are of one size, have random weights, which take as long as trained ones, and make 16 frames from a class, so that
the tokenizer only decodes. On a GPU everything is run, but of diffusion one step. On a CPU that would take hours: there
some steps, layers and frames are run and the others, which are alike, are taken to last as long; a row says which.
"""

import gc
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from typing import Any

import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from magvit import costs
from magvit.autoregressive import AutoregressiveConfig, AutoregressiveTransformer
from magvit.benchmark.clock import cheapest, forget_peak, peak_memory, rate_of
from magvit.benchmark.methods import FRAMES, METHODS, Row
from magvit.decoding import Decoding
from magvit.generation import generate
from magvit.generator_config import MaskedGenerator
from magvit.model import compile_for_use
from magvit.nn.sampling import sample_tokens
from magvit.presets import TOKENIZERS, TRANSFORMERS
from magvit.seeds import generator_for
from magvit.shapes import Grid
from magvit.tasks import Vocabulary, get_task
from magvit.tokenizer import TokenizerConfig, VideoTokenizer
from magvit.transformer import MaskedTransformer, TransformerConfig

MOST_FLOPS = 4e11
"""A pass of more is timed with fewer layers on a CPU."""


@dataclass(frozen=True)
class Bench:
    """Where and how is measured.

    Attributes:
        device: CPU or GPU.
        size: of the networks, "b" or "l".
        dtype: of weights and arithmetic.
        repeats: calls, of which the quickest counts; two or more where the first one compiles.
        compile: decoders and masked transformers, as `MagvitPipeline.compile` does.
    """

    device: torch.device
    size: str = "b"
    dtype: torch.dtype = torch.bfloat16
    repeats: int = 2
    compile: bool = False

    @property
    def whole(self) -> bool:
        """Whether everything is run."""
        return self.device.type == "cuda"

    def tokenizer(self, kind: str, pixels: int) -> TokenizerConfig:
        """That of the paper: blocks of 4x4 pixels up to 64, of 8x8 above."""
        return TOKENIZERS[f"{kind}-{self.size}{'-64' if pixels <= 64 else ''}"]

    def ready(self, network: Any) -> Any:
        """A network in evaluation mode, where and in what it works."""
        network.to(self.device, self.dtype).eval()
        if self.compile and isinstance(network, VideoTokenizer | MaskedTransformer):
            compile_for_use(network)
        return network

    def seconds(self, function: Any) -> float:
        """Of the quickest of the calls, without gradients, in the precision that a pipeline would work in."""
        narrow = self.dtype == torch.bfloat16
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=narrow):
            return cheapest(function, self.device, self.repeats)


def ceilings(bench: Bench) -> dict[str, float]:
    """FLOP/s of a matrix product of the transformer's and a convolution of the tokenizer's sizes, each alone."""
    size, shape = TRANSFORMERS[f"magvit-{bench.size}"], (8, 64, 64)
    channels = 2 * TOKENIZERS[f"3dvq-{bench.size}"].base_channels

    def numbers(*sizes: int) -> torch.Tensor:
        return torch.randn(sizes, device=bench.device, dtype=bench.dtype)

    rows = 1024 if not bench.whole else 16384
    left, right = numbers(rows, size.hidden_size), numbers(size.mlp_size, size.hidden_size)
    layout = torch.channels_last_3d
    clip = numbers(1, channels, *shape).to(memory_format=layout)
    kernel = numbers(channels, channels, 3, 3, 3).to(memory_format=layout)
    with torch.inference_mode():
        return {
            "matmul": rate_of(lambda: F.linear(left, right), 2 * rows * size.hidden_size * size.mlp_size, bench.device),
            "conv": rate_of(
                lambda: F.conv3d(clip, kernel, padding=1), 54 * channels**2 * math.prod(shape), bench.device
            ),
        }


# --- The parts that are timed ----------------------------------------------------------------------------------------


def decoder_seconds(bench: Bench, config: TokenizerConfig, clip_shape: Grid, batch: int) -> tuple[float, str]:
    """Seconds of the pixels of a batch; on a CPU frames that are decoded one by one are a quarter of them."""
    network = bench.ready(VideoTokenizer(config))
    frames = FRAMES // 4 if config.dims == 2 and not bench.whole else FRAMES
    grid = config.latent_shape((frames, *clip_shape[1:]))
    tokens = torch.zeros(batch, *grid, dtype=torch.long, device=bench.device)
    told = f"{frames} of {FRAMES} frames decoded" if frames < FRAMES else ""
    return FRAMES / frames * bench.seconds(lambda: network.decode(tokens)), told


def masked_seconds(bench: Bench, grid: Grid, steps: int, batch: int) -> tuple[float, str, int]:
    """Seconds of the tokens of a batch in `steps` passes; how much of it was run; bytes of weights left out."""
    vocabulary = Vocabulary(TOKENIZERS["3dvq-b"].codebook_size, num_special=1)
    length = vocabulary.prefix_length + math.prod(grid)
    size = TRANSFORMERS[f"magvit-{bench.size}"]
    config = TransformerConfig(vocab_size=vocabulary.size, max_length=length, **asdict(size))
    whole, part, run = costs.masked_pass(config, length), config, steps
    if not bench.whole:
        layers = max(1, min(size.num_layers, int(size.num_layers * MOST_FLOPS / costs.forward(whole))))
        part, run = replace(config, num_layers=layers), min(steps, 2)
    products = costs.masked_pass(part, length)
    network = bench.ready(MaskedTransformer(part))
    nothing = torch.zeros(batch, *grid, dtype=torch.long, device=bench.device)
    given, task = (nothing, nothing.bool()), get_task("unconditional")
    generator = MaskedGenerator(transformer=part, vocabulary=vocabulary)
    numbers = [generator_for(0, i) for i in range(batch)]
    seconds = bench.seconds(
        lambda: generate(generator, network, task, [None] * batch, *given, Decoding(num_steps=run), numbers)
    )
    told = [f"{run} of {steps} steps"] if run < steps else []
    told += [f"{part.num_layers} of {size.num_layers} layers"] if part.num_layers < size.num_layers else []
    left_out = (costs.weights(whole) - costs.weights(products)) * bench.dtype.itemsize
    return seconds * steps / run * costs.forward(whole) / costs.forward(products), " and ".join(told), left_out


def causal_seconds(
    bench: Bench, config: AutoregressiveConfig, codes: int, tokens: int, batch: int
) -> tuple[float, str]:
    """Seconds of the tokens of a batch one by one; on a CPU eight of them, in the middle, where one takes the mean."""
    network = bench.ready(AutoregressiveTransformer(config))
    numbers = [generator_for(0, i) for i in range(batch)]
    if bench.whole:
        prefix = torch.zeros(batch, 2, dtype=torch.long, device=bench.device)
        return bench.seconds(lambda: network.generate(prefix, tokens, codes, generators=numbers)), ""
    run, ids = 8, torch.zeros(batch, 1, dtype=torch.long)
    kept = torch.randn(batch, config.num_heads, tokens // 2 - run // 2, config.hidden_size // config.num_heads)

    def some() -> None:
        cache = network.new_cache()
        for layer in cache:
            layer.append(kept.to(bench.dtype), kept.to(bench.dtype))
        for _ in range(run):
            sample_tokens(network.step(ids, cache)[:, -1, :codes], generators=numbers)

    return tokens / run * bench.seconds(some), f"{run} of {tokens:,} steps, with half the tokens kept"


def diffusion_step(bench: Bench, pixels: int, batch: int) -> tuple[float, int]:
    """Seconds of one step of a batch, and FLOP of one clip's: the 3D U-Net of diffusers in its own size, on pixels."""
    from diffusers import UNet3DConditionModel

    def step(device: torch.device | str, dtype: torch.dtype, clips: int) -> tuple[Any, ...]:
        text = torch.zeros(clips, 1, network.config.cross_attention_dim, device=device, dtype=dtype)
        return network(torch.zeros(clips, 3, FRAMES, pixels, pixels, device=device, dtype=dtype), 0, text)

    with torch.device("meta"):
        network = UNet3DConditionModel(in_channels=3, out_channels=3)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        step("meta", torch.float32, 1)
    network = bench.ready(UNet3DConditionModel(in_channels=3, out_channels=3))
    return bench.seconds(lambda: step(bench.device, bench.dtype, batch)), counter.get_total_flops()


# --- Rows ------------------------------------------------------------------------------------------------------------


def measure(bench: Bench, name: str, pixels: int, batch: int) -> Row:
    """One row. The decoder and the network are there one after the other, so the larger one makes the peak."""
    method, clip_shape = METHODS[name], (FRAMES, pixels, pixels)
    forget_peak(bench.device)
    if method.kind == "diffusion":
        row = Row(name, pixels, batch, None, method.steps or 1)
        if find_spec("diffusers") is None:
            return replace(row, note='not measured: needs diffusers (pip install "magvit[benchmark]")')
        seconds, flops = diffusion_step(bench, pixels, batch)
        return replace(
            row,
            network_flops=row.steps * flops,
            network_seconds=row.steps * seconds / batch,
            peak=peak_memory(bench.device),
            note=f"1 of {row.steps} steps",
        )
    config = bench.tokenizer(method.tokenizer, pixels)
    grid = config.latent_shape(clip_shape)
    tokens = math.prod(grid)
    pixel_seconds, of_frames = decoder_seconds(bench, config, clip_shape, batch)
    gc.collect()
    size, codes = TRANSFORMERS[f"magvit-{bench.size}"], config.codebook_size
    if method.kind == "causal":
        causal = AutoregressiveConfig(vocab_size=codes + 2, max_length=tokens + 1, **asdict(size))
        flops, left_out = costs.forward(costs.causal_steps(causal, 2, tokens)), 0
        network_seconds, of_steps = causal_seconds(bench, causal, codes, tokens, batch)
    else:
        assert method.steps is not None
        masked = TransformerConfig(vocab_size=codes + 2, max_length=tokens + 1, **asdict(size))
        flops = method.steps * costs.forward(costs.masked_pass(masked, tokens + 1))
        network_seconds, of_steps, left_out = masked_seconds(bench, grid, method.steps, batch)
    peak = peak_memory(bench.device)
    return Row(
        name,
        pixels,
        batch,
        tokens,
        method.steps or tokens,
        costs.forward(costs.decode(config, clip_shape)),
        flops,
        pixel_seconds / batch,
        network_seconds / batch,
        None if peak is None else peak + left_out,
        "; ".join(filter(None, (of_frames, of_steps))),
    )


def rows(bench: Bench, names: Sequence[str], sizes: Sequence[int]) -> Iterator[Row]:
    """A row for each method and size with a batch of 1, and on a GPU one with the batch that is best.

    Methods that compute the same are timed once: what a masked transformer reads does not change what it costs.
    """
    for pixels in sizes:
        once: dict[tuple[Any, ...], Row] = {}
        for name in names:
            method = METHODS[name]
            if method.kind == "diffusion" and pixels > 64:  # the paper's figure has it at 64x64 alone
                continue
            same = (method.kind, method.tokenizer)
            earlier = once.get(same)
            if earlier is not None and method.steps is not None and earlier.network_seconds is not None:
                share = method.steps / earlier.steps
                yield replace(
                    earlier,
                    method=name,
                    steps=method.steps,
                    network_flops=round(share * (earlier.network_flops or 0)),
                    network_seconds=share * earlier.network_seconds,
                    note=f"passes as those of {earlier.method}",
                )
                continue
            once[same] = measure(bench, name, pixels, 1)
            yield once[same]
            if bench.whole and once[same].network_seconds is not None:
                yield from _best_batch(bench, once[same])
            gc.collect()


def _best_batch(bench: Bench, single: Row) -> Iterator[Row]:
    """The row of twice, four times, ... as many clips, while a frame gets 3 % cheaper and there is memory."""
    best = single
    while True:
        try:
            row = measure(bench, single.method, single.pixels, 2 * best.batch)
        except torch.cuda.OutOfMemoryError:
            torch.cuda.empty_cache()
            break
        assert row.frame_seconds is not None
        assert best.frame_seconds is not None
        if row.frame_seconds > 0.97 * best.frame_seconds:
            break
        best = row
    if best is not single:
        yield best
