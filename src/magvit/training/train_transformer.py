"""Stage 2: train the masked transformer with COMMIT (paper section 3.2). One loop, to be read from top to bottom.

The randomness of a sample (its task, mask ratio and scores) is a pure function of the seed and its position in the
stream of clips, so it does not depend on how the stream is cut into batches, processes and resumed runs.
"""

import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from tqdm import tqdm

from magvit.data.clip import generator_for
from magvit.data.loader import TrainingClips
from magvit.model_config import ModelConfig
from magvit.pipeline import MagvitPipeline
from magvit.shapes import Grid, TokenMask, Tokens, Video
from magvit.tasks import (
    CommitLosses,
    Task,
    Vocabulary,
    commit_losses,
    cross_entropy,
    get_task,
    mask_tokens,
    sample_mask_ratio,
    sample_mask_score,
)
from magvit.tokenizer import VideoTokenizer
from magvit.training.checkpoint import restore, save_checkpoint
from magvit.training.config import TransformerRun
from magvit.training.engine import Learner, average_of, forever, launch, mean_metrics, micro_batches, seed_step
from magvit.training.log import RunLog
from magvit.transformer import MaskedTransformer, TransformerConfig


class Draw(NamedTuple):
    """What chance decides for one sample."""

    task: Task
    mask_ratio: Float[Tensor, ""]
    mask_score: Float[Tensor, "t h w"]


class Examples(NamedTuple):
    """A batch as the transformer is asked about it."""

    prefix: Int[Tensor, "B P"]
    tokens: Tokens
    cond_tokens: Tokens
    cond_token_mask: TokenMask


def draw(config: TransformerRun, tasks: Sequence[Task], position: int, step: int, latent_shape: Grid) -> Draw:
    """Task, mask ratio and mask scores of the sample at `position`; with `ratio_per_batch` the ratio is the step's."""
    generator = generator_for(config.loop.seed, position)
    weights = torch.tensor(config.task_weights or (1.0,) * len(tasks))
    task = tasks[int(torch.multinomial(weights, 1, generator=generator))]
    score = sample_mask_score(torch.Size((1, *latent_shape)), generator)[0]
    of_ratio = generator_for(config.loop.seed, -1, step) if config.ratio_per_batch else generator
    ratio = sample_mask_ratio(1, score.numel(), of_ratio, schedule=config.mask_schedule)
    return Draw(task, ratio[0], score)


@torch.no_grad()
def tokenize(
    tokenizer: VideoTokenizer,
    vocabulary: Vocabulary,
    config: TransformerRun,
    video: Video,
    labels: Sequence[int],
    tasks: Sequence[Task],
) -> Examples:
    """Tokens of a batch and of what its tasks show of it. A label of -1 (none) becomes the unconditional class."""
    latent_shape = tokenizer.config.latent_shape((video.shape[2], video.shape[3], video.shape[4]))
    conditions = [
        task.condition(clip[None], latent_shape, config.condition_frames)
        for task, clip in zip(tasks, video, strict=True)
    ]
    shown = torch.tensor([task.needs_video for task in tasks], device=video.device)
    cond_video = torch.cat([condition.cond_video for condition in conditions])
    tokens = tokenizer.encode(torch.cat([video, cond_video[shown]]))
    tokens, of_shown = tokens[: len(video)], tokens[len(video) :]
    cond_tokens = torch.zeros_like(tokens)
    cond_tokens[shown] = of_shown
    cond_token_mask = torch.cat([condition.cond_token_mask for condition in conditions])
    given = [
        label if task.class_conditional and label >= 0 else None for task, label in zip(tasks, labels, strict=True)
    ]
    prefix = torch.stack([vocabulary.prefix(task.family, label) for task, label in zip(tasks, given, strict=True)])
    prefix = prefix.to(video.device)
    if config.mask_mode == "prefix":
        prefix = torch.cat([prefix, vocabulary.condition_prefix(cond_tokens, cond_token_mask)], 1)
    return Examples(prefix, tokens, cond_tokens, cond_token_mask)


def commit_objective(
    transformer: nn.Module, examples: Examples, draws: Sequence[Draw], vocabulary: Vocabulary, config: TransformerRun
) -> CommitLosses:
    """Mask (Eq. 2), predict, and compare with the true tokens (Eq. 3)."""
    device = examples.tokens.device
    masked = mask_tokens(
        examples.tokens,
        examples.cond_tokens,
        examples.cond_token_mask,
        torch.stack([sample.mask_score for sample in draws]).to(device),
        torch.stack([sample.mask_ratio for sample in draws]).to(device),
        mask_token_id=vocabulary.mask_token_id,
        mask_mode=config.mask_mode,
    )
    logits = transformer(torch.cat([examples.prefix, masked.inputs.flatten(1)], 1))
    logits = logits[:, examples.prefix.shape[1] :, : vocabulary.codebook_size]
    token_loss = cross_entropy(logits, masked.targets.flatten(1), config.label_smoothing)
    return commit_losses(token_loss.view(masked.targets.shape), masked, config.losses)


def train_transformer(
    config: TransformerRun,
    output: Path,
    *,
    resume: bool = False,
    device: str = "auto",
    progress: bool = True,
) -> Path:
    """Train and return the model folder `output/model`, which holds tokenizer and transformer.

    Raises:
        ValueError: if the tokenizer, the tasks or the data do not fit together.
        OSError: if the tokenizer or the clips are not there.
    """
    loop = config.loop
    tasks = [get_task(name) for name in config.tasks]
    clips = TrainingClips(config.data, loop.seed)
    of_tokenizer = MagvitPipeline.from_pretrained(config.tokenizer)
    tokenizer, model_config = of_tokenizer.tokenizer, design(config, of_tokenizer.config, clips.classes)
    vocabulary, latent_shape = model_config.vocabulary, tokenizer.config.latent_shape(config.data.clip_shape)
    for task in tasks:  # refuses more condition frames than a clip has
        task.condition(torch.zeros(1, 3, *config.data.clip_shape), latent_shape, config.condition_frames)
    assert vocabulary is not None
    assert model_config.transformer is not None

    fabric = launch(loop, device)
    torch.manual_seed(loop.seed)
    transformer = MaskedTransformer(model_config.transformer)
    average, averaged = average_of(transformer, config.ema_decay) if config.ema_decay else (None, transformer)
    learner = Learner(fabric, transformer, config.optimizer, loop.num_steps)
    tokenizer.requires_grad_(False).to(fabric.device)
    parts: dict[str, Any] = {"transformer": learner}
    if average is not None:
        parts["average"] = average.to(fabric.device)

    start = restore(output / "checkpoints", parts, resume)
    log = RunLog(output, start)
    (output / "config.json").write_text(json.dumps(asdict(config), indent=2) + "\n")

    size, pieces = micro_batches(loop, fabric.world_size)
    batches = forever(clips, loop, size, start * pieces, fabric)
    bar = tqdm(range(start, loop.num_steps), initial=start, total=loop.num_steps, disable=not progress, unit="step")
    clock, last_logged = time.perf_counter(), start
    for step in bar:
        seed_step(loop, step)
        metrics = []
        for piece in range(pieces):
            batch = next(batches)
            first = ((step * pieces + piece) * fabric.world_size + fabric.global_rank) * size
            draws = [draw(config, tasks, first + i, step, latent_shape) for i in range(size)]
            with fabric.autocast():
                labels, chosen = batch["label"].tolist(), [sample.task for sample in draws]
                examples = tokenize(tokenizer, vocabulary, config, batch["video"], labels, chosen)
            with fabric.no_backward_sync(learner.wrapped, enabled=piece < pieces - 1):
                losses = commit_objective(learner.wrapped, examples, draws, vocabulary, config)
                fabric.backward(losses.total / pieces)
            metrics.append(
                {
                    "total_loss": losses.total,
                    "refine_loss": losses.refine_loss,
                    "mask_loss": losses.mask_loss,
                    "reconstruct_loss": losses.reconstruct_loss,
                }
            )
        rate, norm = learner.update(step)
        if average is not None:
            average.update_parameters(transformer)

        done = step + 1
        if fabric.is_global_zero and (done % loop.log_every == 0 or done == loop.num_steps):
            values = mean_metrics(metrics) | {"gradient_norm": norm.item(), "lr": rate}
            seconds, clock = time.perf_counter() - clock, time.perf_counter()
            values["clips_per_second"] = (done - last_logged) * loop.global_batch_size / seconds
            last_logged = done
            log.scalars(done, values)
            bar.set_postfix(loss=f"{values['total_loss']:.4f}", mask=f"{values['mask_loss']:.4f}")
        if fabric.is_global_zero and (done % loop.sample_every == 0 or done == loop.num_steps):
            sample(log, done, MagvitPipeline(model_config, tokenizer, averaged), tasks, batch)
            transformer.train()
        if done % loop.checkpoint_every == 0 or done == loop.num_steps:
            if fabric.is_global_zero:
                state = {"step": done} | {name: part.state_dict() for name, part in parts.items()}
                save_checkpoint(output / "checkpoints", done, state, loop.keep_checkpoints)
                MagvitPipeline(model_config, tokenizer, averaged).save_pretrained(output / "model")
                transformer.train()
            fabric.barrier()
    log.close()
    return output / "model"


def design(config: TransformerRun, tokenizer: ModelConfig, classes: tuple[str, ...]) -> ModelConfig:
    """The model that a run makes of its tokenizer and the classes of its data."""
    vocabulary = Vocabulary(
        tokenizer.tokenizer.codebook_size,
        len(classes),
        num_special=16 if config.task_tokens else 1,
        separate_inpainting_token=config.separate_inpainting_token,
    )
    t, h, w = tokenizer.tokenizer.latent_shape(config.data.clip_shape)
    transformer = TransformerConfig(
        vocab_size=vocabulary.size,
        max_length=vocabulary.sequence_length(t * h * w, config.mask_mode == "prefix"),
        hidden_size=config.hidden_size,
        num_layers=config.num_layers,
        num_heads=config.num_heads,
        mlp_size=config.mlp_size,
        dropout=config.dropout,
    )
    return ModelConfig(
        format=1,
        tokenizer=tokenizer.tokenizer,
        clip_shape=config.data.clip_shape,
        transformer=transformer,
        vocabulary=vocabulary,
        classes=classes,
        condition_frames=config.condition_frames,
        fps=config.data.fps,
        mask_mode=config.mask_mode,
    )


def sample(log: RunLog, step: int, pipe: MagvitPipeline, tasks: Sequence[Task], batch: dict[str, Tensor]) -> None:
    """Do one of the tasks on the first clip of a batch: a video of truth, condition and result side by side."""
    task = tasks[step % len(tasks)]
    clip, label = batch["video"][:1].float(), int(batch["label"][0])
    named = max(label, 0) if task.class_conditional and pipe.config.classes else None
    if task.class_conditional and named is None:
        return
    num_steps = min(12, math.prod(pipe.config.tokenizer.latent_shape(pipe.config.clip_shape)))
    made = pipe(task.name, clip if task.needs_video else None, named, num_steps=num_steps, seed=step)
    log.video(step, task.name, torch.cat([clip, made.cond_video, made.video], dim=4)[0].cpu())
