"""What the jobs of a table cost: FLOP by arithmetic from configs, and hours from them.

Networks that metrics look through are not counted, nor is reading clips.
"""

import time

import torch

from magvit import costs
from magvit.model_config import ModelConfig
from magvit.reproduce.plan import Job
from magvit.reproduce.work import Laboratory
from magvit.training.cache_tokens import condition_names
from magvit.training.config import TransformerRun
from magvit.training.costs import clip_flops
from magvit.training.design import design
from magvit.transformer import TransformerConfig

H100 = {"tokenizer": 139e12, "transformer": 233e12}
"""FLOP a second of training steps of size B on one H100, as measured (docs/benchmarks.md)."""
REACHED = 0.35
"""The share of this machine's FLOP a second that a training is taken to reach."""


def h100_seconds(job: Job, flops: int | float, laboratory: Laboratory) -> float:
    """Of a job on one H100, if all work on a kind of network went as its training does."""
    run = laboratory.training(Job("train", job.model, job.seed))
    transformer = isinstance(run, TransformerRun) and job.kind != "tokens"
    return flops / H100["transformer" if transformer else "tokenizer"]


def job_flops(job: Job, laboratory: Laboratory) -> int | float:
    """FLOP of a job done from the beginning."""
    scale = laboratory.scale
    run = laboratory.training(Job("train", job.model, job.seed))
    shape = run.data.clip_shape
    if job.kind == "tokens":
        conditions = len(condition_names(laboratory.cached_tasks(job.model)))
        encode = costs.forward(costs.encode(run.tokenizer, shape))  # type: ignore[arg-type]
        return 1024 * scale.token_epochs * (1 + conditions) * encode
    start = scale.models[scale.needs(job.model) or job.model]()
    assert not isinstance(start, TransformerRun)
    tokenizer = ModelConfig(tokenizer=start.tokenizer, clip_shape=shape)
    if job.kind == "train":
        clips = run.loop.num_steps * run.loop.global_batch_size
        return clips * sum(clip_flops(run, tokenizer).values())
    size = run.tokenizer if not isinstance(run, TransformerRun) else start.tokenizer
    sample = float(costs.forward(costs.encode(size, shape) + costs.decode(size, shape)))
    samples = sum(part.num_samples * part.repeats * max(1, len(part.tasks)) for part in scale.protocols[job.protocol])
    if isinstance(run, TransformerRun):
        generator = design(run, tokenizer, ()).generator
        assert generator is not None
        config, length = generator.transformer, generator.transformer.max_length
        if isinstance(config, TransformerConfig):
            sample += costs.passes(generator.decoding) * costs.forward(costs.masked_pass(config, length))
        else:
            sample += costs.forward(costs.causal_steps(config, 1, length - 1))
    return samples * sample


def measured_rate() -> float:
    """FLOP a second of a large matrix product in bfloat16 here, the best of a few."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    size = 8192 if device.type == "cuda" else 1536
    a = torch.randn(size, size, device=device, dtype=torch.bfloat16)
    best = float("inf")
    for _ in range(5):
        begun = time.perf_counter()
        (a @ a).sum().item()
        best = min(best, time.perf_counter() - begun)
    return 2 * size**3 / best
