"""Stage 2: train the masked transformer with COMMIT (paper section 3.2), or the autoregressive baseline.

One loop, to be read from top to bottom.
"""

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from magvit.data.loader import TrainingClips
from magvit.data.token_cache import TokenCache
from magvit.generation import make_transformer
from magvit.generator_config import AutoregressiveGenerator
from magvit.pipeline import MagvitPipeline
from magvit.tasks import CommitLosses, Task, get_task
from magvit.training.cache_tokens import check_cache, look_up
from magvit.training.checks import check_gradients
from magvit.training.config import TransformerRun
from magvit.training.design import design
from magvit.training.engine import THIS_MACHINE, Learner, Machine, average_of, launch, mean_metrics, on_device
from magvit.training.log import RunLog
from magvit.training.objectives import commit_objective, draw, in_precision, next_token_objective, tokenize, told_region
from magvit.training.processes import over_processes
from magvit.training.run import Run, check_output
from magvit.transformer import MaskedTransformer


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
    if config.compile:
        transformer.compile()
    tokenizer.requires_grad_(False).to(fabric.device)
    parts: dict[str, Any] = {"transformer": learner} | ({"average": average} if average else {})

    def model() -> MagvitPipeline:
        whole = averaged if average else learner.whole(lambda: make_transformer(generator))
        return MagvitPipeline(model_config, tokenizer, whole)

    shows_regions = cache is None and any(task.family == "free" for task in tasks)
    extras = partial(told_region, config) if shows_regions else None
    run = Run(fabric, config, output, parts, clips, resume=resume, progress=progress, extras=extras)
    for step in run.steps():
        done = step + 1
        collected: list[CommitLosses] = []
        for piece, (first, batch) in enumerate(run.batches(step)):
            draws = [draw(config, tasks, first + i, step, latent_shape) for i in range(run.size)]
            chosen = [sample.task for sample in draws]
            if cache is not None:
                tokenized = look_up(batch, cache.config.conditions, chosen)
            else:
                with in_precision(config.tokenizes_in, fabric.device):
                    tokenized = tokenize(tokenizer, batch["video"], chosen, config.condition_frames, batch.get("known"))
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
    log.video(step, task.name, torch.cat([clip, made.cond_video, made.video], dim=4)[0].cpu(), pipe.config.fps)
