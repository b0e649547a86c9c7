"""Stage 2: train the masked transformer with COMMIT (paper section 3.2), or the autoregressive baseline.

One loop, to be read from top to bottom.
"""

import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from magvit.autoregressive import AutoregressiveConfig
from magvit.data.loader import TrainingClips
from magvit.data.token_cache import TokenCache
from magvit.generation import make_transformer
from magvit.model_config import AutoregressiveGenerator, MaskedGenerator, ModelConfig
from magvit.pipeline import MagvitPipeline
from magvit.tasks import CommitLosses, Task, Vocabulary, get_task, sequence_length
from magvit.training.cache_tokens import check_cache, look_up
from magvit.training.checks import check_gradients
from magvit.training.config import TransformerRun
from magvit.training.engine import THIS_MACHINE, Learner, Machine, average_of, launch, mean_metrics, on_device
from magvit.training.log import RunLog
from magvit.training.objectives import commit_objective, draw, next_token_objective, tokenize
from magvit.training.processes import over_processes
from magvit.training.run import Run, check_output
from magvit.transformer import MaskedTransformer, TransformerConfig


def train_transformer(
    config: TransformerRun,
    output: Path,
    *,
    resume: bool = False,
    machine: Machine = THIS_MACHINE,
    progress: bool = True,
) -> Path:
    """Train and return the model folder `output/model`, which holds tokenizer and transformer.

    Raises:
        ValueError: if the tokenizer, the tasks or the data do not fit together, or the run folder holds another run.
        OSError: if tokenizer, clips or the run folder are not to be had.
    """
    check_output(output, config, resume)
    loop = config.loop
    if machine.strategy == "fsdp" and config.ema_decay:
        raise ValueError(f"ema_decay is {config.ema_decay}, expected 0 (as in the paper) with strategy fsdp")
    tasks = [get_task(name) for name in config.tasks]
    cache = TokenCache(config.token_cache) if config.token_cache else None
    clips = TrainingClips(config.data, loop.seed) if cache is None else cache
    of_tokenizer = MagvitPipeline.from_pretrained(config.tokenizer)
    if cache is not None:
        check_cache(cache.folder, cache.config, config, of_tokenizer.tokenizer)
    tokenizer, model_config = of_tokenizer.tokenizer, design(config, of_tokenizer.config, clips.classes)
    latent_shape = tokenizer.config.latent_shape(config.data.clip_shape)
    generator = model_config.generator
    assert generator is not None
    autoregressive = isinstance(generator, AutoregressiveGenerator)
    objective, shown = (next_token_objective, "latent_loss") if autoregressive else (commit_objective, "mask_loss")

    fabric = launch(loop, machine)
    torch.manual_seed(loop.seed)
    transformer = make_transformer(generator)
    if config.knows_codebook and isinstance(transformer, MaskedTransformer):
        transformer.codebook.copy_(tokenizer.quantizer.codebook.detach())
    transformer.rematerialize = loop.rematerialize
    average: AveragedModel | None = None
    if config.ema_decay:
        average, averaged = average_of(transformer, config.ema_decay)
        on_device(average, fabric)
    learner = Learner(fabric, transformer, config.optimizer, loop.num_steps)
    tokenizer.requires_grad_(False).to(fabric.device)
    parts: dict[str, Any] = {"transformer": learner} | ({"average": average} if average else {})

    def model() -> MagvitPipeline:
        whole = averaged if average else learner.whole(lambda: make_transformer(generator))
        return MagvitPipeline(model_config, tokenizer, whole)

    run = Run(fabric, config, output, parts, clips, resume=resume, progress=progress)
    for step in run.steps():
        done = step + 1
        collected: list[CommitLosses] = []
        for piece, (first, batch) in enumerate(run.batches(step)):
            draws = [draw(config, tasks, first + i, step, latent_shape) for i in range(run.size)]
            chosen = [sample.task for sample in draws]
            if cache is not None:
                tokenized = look_up(batch, cache.config.conditions, chosen)
            else:
                with fabric.autocast():
                    tokenized = tokenize(tokenizer, batch["video"], chosen, config.condition_frames)
            labels = batch["label"].tolist()
            with fabric.no_backward_sync(learner.wrapped, enabled=piece < run.pieces - 1):
                losses = objective(learner.wrapped, tokenized, draws, labels, generator.vocabulary, config)
                fabric.backward(losses.total / run.pieces)
            collected.append(losses)
            run.guard.see(done, {"total_loss": losses.total})
        if step == run.start:
            run.guard.warn(done, check_gradients("transformer", transformer))
        rate, norm = learner.update(step)
        run.guard.see(done, {"gradient_norm": norm})
        if average is not None:
            average.update_parameters(transformer)

        if run.due(done, loop.log_every):
            values = mean_metrics([{"total_loss": losses.total} for losses in collected], fabric)
            sums, counts = (
                over_processes(fabric, torch.stack([getattr(losses, name) for losses in collected]).sum(0), "sum")
                for name in ("sums", "counts")
            )
            values |= losses.means(sums, counts) | {"gradient_norm": norm.item(), "lr": rate}
            run.record(done, values, shown=shown)
        if run.due(done, loop.sample_every):
            pipe = model()
            with run.together():
                if run.log is not None:
                    sample(run.log, done, pipe, tasks[done // loop.sample_every % len(tasks)], batch)
            transformer.train()
        run.evaluate(done, model)
        transformer.train()
        if run.stop.agreed(done) or run.due(done, loop.checkpoint_every):
            run.save(done, model)
            transformer.train()
    return output / "model"


def design(config: TransformerRun, tokenizer: ModelConfig, classes: tuple[str, ...]) -> ModelConfig:
    """The model that a run makes of its tokenizer and the classes of its data."""
    vocabulary = Vocabulary(
        tokenizer.tokenizer.codebook_size,
        len(classes),
        num_special=16 if config.task_tokens else 1,
        separate_inpainting_token=config.separate_inpainting_token,
    )
    tasks = [get_task(name) for name in config.tasks]
    latent_shape = tokenizer.tokenizer.latent_shape(config.data.clip_shape)
    blank = torch.zeros(1, 3, *config.data.clip_shape)
    if not 1 <= config.condition_frames < config.data.clip_shape[0]:
        expected = f"expected 1 to {config.data.clip_shape[0] - 1}"
        raise ValueError(f"condition_frames is {config.condition_frames}, {expected}")
    given = [
        math.prod(latent_shape)  # at most; of the other tasks exactly
        if task.family == "free"
        else int(task.condition(blank, latent_shape, config.condition_frames).cond_token_mask.sum())
        for task in tasks
    ]
    codes = tokenizer.tokenizer
    size: dict[str, Any] = {
        "vocab_size": vocabulary.size,
        "max_length": sequence_length(vocabulary, math.prod(latent_shape), config.mask_mode, max(given)),
        **asdict(config.size),
    }
    without_class = config.label_dropout > 0 or not classes or not all(task.class_conditional for task in tasks)
    learnt: dict[str, Any] = {
        "vocabulary": vocabulary,
        "mask_mode": config.mask_mode,
        "tasks": tuple(task.name for task in tasks),
        "unconditional": without_class,
    }
    num_tokens = math.prod(latent_shape)
    if config.generator == "autoregressive":
        generator: MaskedGenerator | AutoregressiveGenerator = AutoregressiveGenerator(
            transformer=AutoregressiveConfig(**size),
            decoding=config.decoding.one_by_one(num_tokens),
            task_decoding=tuple(
                replace(one, decoding=one.decoding.one_by_one(num_tokens)) for one in config.task_decoding
            ),
            **learnt,
        )
    else:
        generator = MaskedGenerator(
            transformer=TransformerConfig(
                num_segments=config.num_segments,
                block=config.block,
                grid=latent_shape if config.block == "modern" else None,
                codebook=(codes.codebook_size, codes.codebook_dim) if config.knows_codebook else None,
                **size,
            ),
            decoding=replace(config.decoding, num_steps=min(config.decoding.num_steps, num_tokens)),
            task_decoding=config.task_decoding,
            **learnt,
        )
    return ModelConfig(
        tokenizer=tokenizer.tokenizer,
        clip_shape=config.data.clip_shape,
        generator=generator,
        classes=classes,
        condition_frames=config.condition_frames,
        fps=config.data.fps,
    )


def sample(log: RunLog, step: int, pipe: MagvitPipeline, task: Task, batch: dict[str, Tensor]) -> None:
    """Do a task on the first clip of a batch: a video of truth, condition and result side by side.

    With a token cache the truth is what the tokenizer makes of the clip's tokens.
    """
    label = int(batch["label"][0])
    clip = batch["video"][:1].float() if "video" in batch else pipe.tokenizer.decode(batch["tokens"][:1].long())
    named = max(label, 0) if task.class_conditional and pipe.config.classes else None
    if task.class_conditional and named is None:
        return
    made = pipe(task.name, clip if task.needs_video else None, named, seed=step)
    log.video(step, task.name, torch.cat([clip, made.cond_video, made.video], dim=4)[0].cpu())
