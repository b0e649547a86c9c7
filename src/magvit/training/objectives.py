"""What the two stages minimise, on one piece of a step: pure functions of networks, clips and draws, without an engine.

A step's clips may come in pieces, and on several processes. All losses are means over clips, so the mean of the
pieces' gradients is the step's gradient, except where a loss is a function of a mean over clips (entropy, LeCam). There
`whole(name, mean)` stands for the mean over the whole step; see `engine.StepMeans`.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from magvit.seeds import generator_for
from magvit.shapes import Clip, Grid, TokenMask, Tokens, Video
from magvit.tasks import (
    CommitLosses,
    SequenceLayout,
    Task,
    Vocabulary,
    commit_losses,
    cross_entropy,
    get_task,
    lay_out,
    mask_ratio,
    mask_tokens,
    sample_mask_ratio,
    sample_mask_score,
    sequence_loss,
    shift_right,
)
from magvit.tasks.conditions import masked
from magvit.tasks.free import known_regions
from magvit.tokenizer import Discriminator, TokenizerOutput, VideoTokenizer
from magvit.tokenizer.losses import (
    LeCam,
    discriminator_loss,
    generator_loss,
    perceptual_loss,
    r1_penalty,
    reconstruction_loss,
)
from magvit.tokenizer.quantizer import Quantizer
from magvit.training.config import TokenizerLossConfig, TransformerRun

Perceptual = Callable[[Tensor, Tensor], Tensor]
Whole = Callable[[str, Tensor], Tensor]


def this_piece(name: str, mean: Tensor) -> Tensor:
    """The `whole` of a step with one piece on one process."""
    return mean


# --- Stage 1 (paper section 3.1, appendix A.1) -----------------------------------------------------------------------


def generator_objective(
    video: Video,
    output: TokenizerOutput,
    quantizer: Quantizer,
    discriminator: Discriminator | None,
    losses: TokenizerLossConfig,
    step: int,
    perceptual: Perceptual | None = None,
    whole: Whole = this_piece,
) -> tuple[Tensor, dict[str, Tensor]]:
    """L_G, and its unweighted terms by name:

    reconstruction + w_p perceptual + w_adv generator + w_c commitment + w_q codebook + w_e entropy

    Terms that cost much and weigh nothing are left out.
    """
    vq = quantizer.losses(
        output.latents,
        output.tokens,
        losses.entropy_temperature,
        whole=partial(whole, "code_probabilities"),
        with_entropy=losses.entropy_weight != 0,
    )
    entropy_weight = losses.entropy_weight * (
        1 + losses.entropy_boost * max(0.0, 1 - step / losses.entropy_boost_steps)
    )
    terms = {
        "reconstruction_loss": (1.0, reconstruction_loss(video, output.reconstruction, losses.reconstruction)),
        "commitment_loss": (losses.commitment_weight, vq.commitment_loss),
        "codebook_loss": (losses.codebook_weight, vq.codebook_loss),
    }
    if vq.entropy_loss is not None:
        terms["entropy_loss"] = (entropy_weight, vq.entropy_loss)
    if perceptual is not None:
        loss = perceptual_loss(video, output.reconstruction, perceptual)
        terms["perceptual_loss"] = (losses.perceptual_weight, loss)
    if discriminator is not None:
        loss = generator_loss(discriminator(output.reconstruction), losses.adversarial)
        terms["generator_loss"] = (losses.adversarial_weight, loss)
    total = sum((weight * term for weight, term in terms.values()), torch.zeros((), device=video.device))
    return total, {"total_loss": total} | {name: term for name, (_, term) in terms.items()}


class Adversary(nn.Module):
    """The discriminator and its LeCam averages. The objective with R1's inner gradient is its forward pass, so that an
    engine which synchronises gradients between processes sees one forward and one backward pass.
    """

    def __init__(self, discriminator: Discriminator, losses: TokenizerLossConfig):
        super().__init__()
        self.discriminator, self.losses = discriminator, losses
        self.lecam = LeCam()

    def forward(
        self, video: Video, reconstruction: Video, with_r1: bool = True, whole: Whole = this_piece
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """L_D = discriminator loss + w_r1 R1 + w_lecam LeCam, and its terms by name with the mean logits.

        A penalty that is taken every `r1_interval` steps weighs as many times more. The LeCam averages are not moved.
        """
        losses = self.losses
        with_r1 = with_r1 and losses.r1_weight > 0
        real = video.detach().requires_grad_(with_r1)
        real_logits, fake_logits = self.discriminator(real), self.discriminator(reconstruction.detach())
        loss = discriminator_loss(real_logits, fake_logits, losses.adversarial)
        metrics = {
            "discriminator_loss": loss,
            "real_logits": whole("real_logits", real_logits.mean()),
            "fake_logits": whole("fake_logits", fake_logits.mean()),
        }
        if with_r1:
            metrics["r1_penalty"] = r1_penalty(real_logits, real)
            loss = loss + losses.r1_weight * losses.r1_interval * metrics["r1_penalty"]
        if losses.lecam_weight:
            metrics["lecam_loss"] = self.lecam(metrics["real_logits"], metrics["fake_logits"])
            loss = loss + losses.lecam_weight * metrics["lecam_loss"]
        return loss, metrics


# --- Stage 2 (paper section 3.2) -------------------------------------------------------------------------------------


class Draw(NamedTuple):
    """What chance decides for one sample."""

    task: Task
    mask_ratio: Float[Tensor, ""]
    mask_score: Float[Tensor, "t h w"]
    drops_label: bool


class Tokenized(NamedTuple):
    """The tokens of a batch of clips, and of what each one's task shows of it (0 where it shows nothing)."""

    tokens: Tokens
    cond_tokens: Tokens
    cond_token_mask: TokenMask


def draw(config: TransformerRun, tasks: Sequence[Task], position: int, step: int, latent_shape: Grid) -> Draw:
    """Task, mask ratio and scores, and whether the class is dropped, for the clip at `position` of the stream.

    They are a pure function of the seed and this position, so they do not depend on how the stream is cut into batches,
    processes and resumed runs. With `ratio_per_batch` the ratio is the step's, and with `stratified_ratios` the step
    draws where an even spread of them begins.
    """
    generator = generator_for(config.loop.seed, position)
    task = _draw_task(config, tasks, generator)
    score = sample_mask_score(torch.Size((1, *latent_shape)), generator)[0]
    of_ratio = generator_for(config.loop.seed, -1, step) if config.ratio_per_batch else generator
    ratio = sample_mask_ratio(1, score.numel(), of_ratio, schedule=config.mask_schedule)
    if config.stratified_ratios:
        share = position % config.loop.global_batch_size / config.loop.global_batch_size
        progress = (torch.rand(1, generator=generator_for(config.loop.seed, -1, step)) + share) % 1
        ratio = mask_ratio(config.mask_schedule, progress, score.numel())
    drops_label = bool(torch.rand((), generator=generator) < config.label_dropout)
    return Draw(task, ratio[0], score, drops_label)


def _draw_task(config: TransformerRun, tasks: Sequence[Task], generator: torch.Generator) -> Task:
    weights = torch.tensor(config.task_weights or (1.0,) * len(tasks))
    return tasks[int(torch.multinomial(weights, 1, generator=generator))]


def told_region(config: TransformerRun, place: int, clip: Clip) -> dict[str, Tensor]:
    """Which pixels the task `free` gives of a clip, drawn where the clip is loaded, and False all over for other tasks.

    To draw it takes the host longer than a GPU the step, and it is seeded by pixels, for which the host would wait.
    """
    tasks = [get_task(name) for name in config.tasks]
    task = _draw_task(config, tasks, generator_for(config.loop.seed, place))
    if task.family == "free":
        return {"known": known_regions(clip["video"][None])[0]}
    return {"known": torch.zeros(1, *clip["video"].shape[1:], dtype=torch.bool)}


def in_precision(precision: str, device: torch.device) -> torch.autocast:
    """What a tokenizer runs under."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


@torch.no_grad()
def tokenize(
    tokenizer: VideoTokenizer,
    video: Video,
    tasks: Sequence[Task],
    condition_frames: int,
    known: Bool[Tensor, "B 1 T H W"] | None = None,
) -> Tokenized:
    """Encode clips and the condition videos of their tasks in one pass; `known` are regions told before, if any."""
    latent_shape = tokenizer.config.latent_shape((video.shape[2], video.shape[3], video.shape[4]))
    cond_token_mask = torch.zeros(len(video), *latent_shape, dtype=torch.bool, device=video.device)
    cond_videos, shown = [], []
    for task in dict.fromkeys(tasks):
        members = torch.tensor([i for i, other in enumerate(tasks) if other == task])
        members = members.to(video.device, non_blocking=True)
        if task.family == "free" and known is not None:
            condition = masked(video[members], known[members], latent_shape)
        else:
            condition = task.condition(video[members], latent_shape, condition_frames)
        cond_token_mask[members] = condition.cond_token_mask
        if task.needs_video:
            cond_videos.append(condition.cond_video)
            shown.append(members)
    both = tokenizer.quantizer.nearest(tokenizer.encode_latents(torch.cat([video, *cond_videos])))
    tokens, of_shown = both[: len(video)], both[len(video) :]
    cond_tokens = torch.zeros_like(tokens)
    if shown:
        cond_tokens[torch.cat(shown)] = of_shown
    return Tokenized(tokens, cond_tokens, cond_token_mask)


def commit_objective(
    transformer: nn.Module,
    batch: Tokenized,
    draws: Sequence[Draw],
    labels: Sequence[int],
    vocabulary: Vocabulary,
    config: TransformerRun,
) -> CommitLosses:
    """Mask (Eq. 2), predict, and compare with the true tokens (Eq. 3). A label of -1 is no class."""
    device = batch.tokens.device
    masked = mask_tokens(
        *batch,
        torch.stack([sample.mask_score for sample in draws]).to(device, non_blocking=True),
        torch.stack([sample.mask_ratio for sample in draws]).to(device, non_blocking=True),
        mask_token_id=vocabulary.mask_token_id,
        mask_mode=config.mask_mode,
    )
    layout = _layout(batch, draws, labels, vocabulary, config)
    segments = layout.segments(masked.segment_ids) if config.num_segments else None
    logits = layout.of_latents(transformer(layout.fill(masked.inputs), segments, layout.visible))
    logits = logits[..., : vocabulary.codebook_size]
    token_loss = cross_entropy(logits, masked.targets.flatten(1), config.label_smoothing)
    return commit_losses(token_loss.view(masked.targets.shape), masked, config.losses)


class NextTokenLosses(CommitLosses):
    """Those of an autoregressive transformer: of what stands before the latent tokens, and of these."""

    regions = ("prefix", "latent")


def next_token_objective(
    transformer: nn.Module,
    batch: Tokenized,
    draws: Sequence[Draw],
    labels: Sequence[int],
    vocabulary: Vocabulary,
    config: TransformerRun,
) -> NextTokenLosses:
    """Predict each token of the sequence from those before it (official `lmgvt_trainer`).

    Every token weighs the same, those of class and condition included, and every id of the vocabulary is an answer.
    """
    layout = _layout(batch, draws, labels, vocabulary, config)
    targets = layout.fill(batch.tokens)
    token_loss = cross_entropy(transformer(shift_right(vocabulary, targets)), targets, config.label_smoothing)
    real = torch.ones_like(token_loss) if layout.visible is None else layout.visible.float()
    latent = layout.segments(torch.ones_like(batch.tokens)).float()
    regions = torch.stack([real - latent, latent]).flatten(1)
    return NextTokenLosses(
        total=sequence_loss(token_loss, real),
        sums=(regions * token_loss.detach().flatten()).sum(1),
        counts=regions.sum(1),
    )


def _layout(
    batch: Tokenized, draws: Sequence[Draw], labels: Sequence[int], vocabulary: Vocabulary, config: TransformerRun
) -> SequenceLayout:
    """The sequences of a batch; its latent tokens are to be filled in."""
    told = [
        label if sample.task.class_conditional and label >= 0 and not sample.drops_label else None
        for sample, label in zip(draws, labels, strict=True)
    ]
    families = [sample.task.family for sample in draws]
    return lay_out(vocabulary, families, told, batch.cond_tokens, batch.cond_token_mask, config.mask_mode)
