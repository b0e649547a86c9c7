"""Training runs that take a second: 4x16x16 clips of moving shapes, 2x4x4 tokens of 16 codes."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from magvit.data.loader import DataConfig
from magvit.hub import load_tensors
from magvit.model_config import ModelConfig
from magvit.nn.attention import TransformerSize
from magvit.pipeline import MagvitPipeline
from magvit.tokenizer import DiscriminatorConfig, TokenizerConfig, VideoTokenizer
from magvit.training.checkpoint import load_newest_checkpoint
from magvit.training.config import LoopConfig, TokenizerLossConfig, TokenizerRun, TransformerRun
from magvit.training.optim import OptimizerConfig

TOKENIZER = TokenizerConfig(
    base_channels=8,
    channel_multipliers=(1, 1, 2),
    temporal_downsample=(True, False),
    num_res_blocks=1,
    codebook_size=16,
    codebook_dim=8,
    norm_groups=2,
)
LOOP = LoopConfig(num_steps=4, global_batch_size=4, precision="float32", log_every=1)


def tokenizer_run(*, adversarial: bool = False, **changes: Any) -> TokenizerRun:
    """A stage-1 run without the perceptual loss; `changes` are fields of the run or of its loop."""
    loop = {name: changes.pop(name) for name in list(changes) if hasattr(LOOP, name)}
    run = TokenizerRun(
        loop=replace(LOOP, **loop),
        data=DataConfig(clip_shape=(4, 16, 16), synthetic_share=1.0),
        tokenizer=TOKENIZER,
        discriminator=DiscriminatorConfig(base_channels=4, channel_multipliers=(2, 2), clip_shape=(4, 16, 16)),
        losses=TokenizerLossConfig(perceptual="none", adversarial_weight=0.1 if adversarial else 0.0),
        generator_optimizer=OptimizerConfig(1e-3),
        discriminator_optimizer=OptimizerConfig(1e-3),
        ema_decay=0.9,
    )
    return replace(run, **changes)


def save_tokenizer(folder: Path) -> str:
    """A model folder with a random tokenizer that uses most of its codes."""
    torch.manual_seed(0)
    tokenizer = VideoTokenizer(TOKENIZER)
    torch.nn.init.normal_(tokenizer.quantizer.codebook, std=0.5)
    MagvitPipeline(ModelConfig(tokenizer=TOKENIZER, clip_shape=(4, 16, 16)), tokenizer).save_pretrained(folder)
    return str(folder)


def transformer_run(tokenizer: str, **changes: Any) -> TransformerRun:
    """A stage-2 run on the tokens of `tokenizer`; `changes` are fields of the run, of its loop or of its size."""
    loop = {name: changes.pop(name) for name in list(changes) if hasattr(LOOP, name)}
    size = TransformerSize(hidden_size=16, num_layers=2, num_heads=2, mlp_size=32)
    sizes = {name: changes.pop(name) for name in list(changes) if hasattr(size, name)}
    run = TransformerRun(
        loop=replace(LOOP, **loop),
        data=DataConfig(clip_shape=(4, 16, 16), synthetic_share=1.0),
        tokenizer=tokenizer,
        tasks=("frame_prediction", "outpainting_central", "class_generation", "class_frame_prediction"),
        size=replace(size, **sizes),
        optimizer=OptimizerConfig(1e-3, betas=(0.9, 0.96), weight_decay=0.045, clip_norm=1.0),
    )
    return replace(run, **changes)


def metrics(folder: Path) -> list[dict[str, float]]:
    """The lines of `metrics.jsonl`, without the two values that are never the same twice."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert all(line.pop("clips_per_second") > 0 and 0 <= line.pop("data_wait") <= 1 for line in lines)
    return lines


def resumed_is_whole(train: Callable[..., Path], config: Any, whole: Path, resumed: Path, network: str) -> None:
    """A run of four steps that goes on from its second is the run: bit-equal lines, states and model."""
    shutil.copytree(whole, resumed)
    (resumed / "checkpoints" / "step_00000004.pt").unlink()
    shutil.rmtree(resumed / "model")
    train(config, resumed, resume=True)
    assert metrics(resumed) == metrics(whole)
    assert same(*(load_newest_checkpoint(folder / "checkpoints") for folder in (resumed, whole)))
    assert same(*(load_tensors(folder / "model", network) for folder in (resumed, whole)))


def same(a: Any, b: Any) -> bool:
    """Whether two states hold bit-equal tensors and equal numbers."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b
