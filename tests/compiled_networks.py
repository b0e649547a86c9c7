"""A program: what torch.compile makes of the networks is one graph each, with the same values up to rounding.

Run by test_compile.py in a process without the checks of shapes, whose wrappers it would have to follow.
"""

import copy
import sys
from dataclasses import replace
from pathlib import Path

import torch

import magvit.tokenizer.autoencoder as autoencoder
from magvit.tokenizer import VideoTokenizer
from magvit.training.train_transformer import train_transformer
from tiny_model import random_clip, tiny_pipeline
from tiny_runs import TOKENIZER, metrics, save_tokenizer, transformer_run

TRACED = {"backend": "aot_eager", "dynamic": False, "fullgraph": True}  # as inductor gets it, without its code
close = torch.testing.assert_close


def the_tokenizer() -> None:
    """Values and gradients, as on a GPU, where resampling is a step of its own."""
    autoencoder._in_one_step = lambda x: False
    torch.manual_seed(0)
    plain = VideoTokenizer(
        replace(TOKENIZER, padding="reflect", channel_multipliers=(1, 2), temporal_downsample=(True,))
    ).eval()
    compiled = copy.deepcopy(plain)
    compiled.compile(**TRACED)
    video, weight = torch.rand(1, 3, 4, 16, 16), torch.randn(1, 3, 4, 16, 16)
    with torch.inference_mode():
        latents = plain.encode_latents(video)
        close(compiled.encode_latents(video), latents, rtol=1e-4, atol=1e-5)
        close(compiled.decode_latents(latents), plain.decode_latents(latents), rtol=1e-4, atol=1e-5)
    for tokenizer in (plain, compiled):
        (tokenizer(video, quantize=False).reconstruction * weight).sum().backward()
    for mine, theirs in zip(plain.parameters(), compiled.parameters(), strict=True):
        if mine.grad is not None:
            close(theirs.grad, mine.grad, rtol=1e-3, atol=1e-4 * float(mine.grad.abs().max()))


def the_pipeline(folder: Path) -> None:
    """Tokens, pixels and what is saved."""
    pipe, compiled = tiny_pipeline(), tiny_pipeline().compile()
    clip = random_clip()[None]
    made, again = (one("frame_prediction", clip, num_steps=2) for one in (pipe, compiled))
    assert made.tokens.equal(again.tokens)
    close(again.video, made.video, rtol=1e-4, atol=1e-5)
    for one, name in ((pipe, "plain"), (compiled, "compiled")):
        one.save_pretrained(folder / name)
    for name in ("tokenizer.safetensors", "transformer.safetensors"):
        assert (folder / "plain" / name).read_bytes() == (folder / "compiled" / name).read_bytes()


def the_training(folder: Path) -> None:
    """Losses of stage 2."""
    run = transformer_run(save_tokenizer(folder / "tokenizer"), dropout=0.0, num_steps=2)
    for name, compiled in (("plain", False), ("compiled", True)):
        train_transformer(replace(run, compile=compiled), folder / "runs" / name, progress=False)
    for mine, theirs in zip(*(metrics(folder / "runs" / name) for name in ("plain", "compiled")), strict=True):
        for name, value in mine.items():
            close(theirs[name], value, rtol=1e-4, atol=0)


if __name__ == "__main__":
    of_module = torch.nn.Module.compile
    times: list[object] = []

    def traced(self: torch.nn.Module, *_: object, **__: object) -> None:
        times.append(self)
        of_module(self, **TRACED)

    torch.nn.Module.compile = traced
    the_tokenizer()
    the_pipeline(Path(sys.argv[1]))
    assert len(times) == 5, times
    the_training(Path(sys.argv[1]))
    assert len(times) == 6, times
