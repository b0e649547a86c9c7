"""Stage 1: train the tokenizer (paper section 3.1; `NOTES` section 1). One loop, read it from top to bottom."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from torch import Tensor
from tqdm import tqdm

from magvit import hub
from magvit.data.datasets import EndlessSampler
from magvit.data.loader import TrainingClips
from magvit.model_config import ModelConfig
from magvit.pipeline import MagvitPipeline
from magvit.shapes import Video
from magvit.tokenizer import Discriminator, TokenizerOutput, VideoTokenizer, inflate
from magvit.tokenizer.losses import (
    LeCam,
    discriminator_loss,
    generator_loss,
    perceptual_loss,
    r1_penalty,
    reconstruction_loss,
)
from magvit.tokenizer.quantizer import Quantizer, codebook_usage
from magvit.training.checkpoint import restore, save_checkpoint
from magvit.training.config import TokenizerLossConfig, TokenizerRun
from magvit.training.engine import Learner, average_of, forever, launch, mean_metrics, micro_batches, seed_step
from magvit.training.log import RunLog

Perceptual = Callable[[Tensor], Tensor]


def generator_objective(
    video: Video,
    output: TokenizerOutput,
    quantizer: Quantizer,
    discriminator: Discriminator | None,
    losses: TokenizerLossConfig,
    step: int,
    perceptual: Perceptual | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """L_G, and its unweighted terms by name:

    reconstruction + w_p perceptual + w_adv generator + w_c commitment + w_q codebook + w_e entropy
    """
    vq = quantizer.losses(output.latents, output.tokens, losses.entropy_temperature)
    entropy_weight = losses.entropy_weight * (
        1 + losses.entropy_boost * max(0.0, 1 - step / losses.entropy_boost_steps)
    )
    terms = {
        "reconstruction_loss": (1.0, reconstruction_loss(video, output.reconstruction, losses.reconstruction)),
        "commitment_loss": (losses.commitment_weight, vq.commitment_loss),
        "codebook_loss": (losses.codebook_weight, vq.codebook_loss),
        "entropy_loss": (entropy_weight, vq.entropy_loss),
    }
    if perceptual is not None:
        loss = perceptual_loss(video, output.reconstruction, perceptual)
        terms["perceptual_loss"] = (losses.perceptual_weight, loss)
    if discriminator is not None:
        loss = generator_loss(discriminator(output.reconstruction), losses.adversarial)
        terms["generator_loss"] = (losses.adversarial_weight, loss)
    total = sum((weight * term for weight, term in terms.values()), torch.zeros((), device=video.device))
    return total, {"total_loss": total} | {name: term for name, (_, term) in terms.items()}


def discriminator_objective(
    video: Video, reconstruction: Video, discriminator: Discriminator, lecam: LeCam, losses: TokenizerLossConfig
) -> tuple[Tensor, dict[str, Tensor]]:
    """L_D = discriminator loss + w_r1 R1 + w_lecam LeCam, and its terms by name with both logits."""
    real = video.detach().requires_grad_(losses.r1_weight > 0)
    real_logits, fake_logits = discriminator(real), discriminator(reconstruction.detach())
    loss = discriminator_loss(real_logits, fake_logits, losses.adversarial)
    metrics = {"discriminator_loss": loss, "real_logits": real_logits.mean(), "fake_logits": fake_logits.mean()}
    if losses.r1_weight:
        metrics["r1_penalty"] = r1_penalty(real_logits, real)
        loss = loss + losses.r1_weight * metrics["r1_penalty"]
    if losses.lecam_weight:
        metrics["lecam_loss"] = lecam(real_logits, fake_logits)
        loss = loss + losses.lecam_weight * metrics["lecam_loss"]
        lecam.update(real_logits, fake_logits)
    return loss, metrics


def train_tokenizer(
    config: TokenizerRun,
    output: Path,
    *,
    resume: bool = False,
    device: str = "auto",
    perceptual: Perceptual | None = None,
    progress: bool = True,
) -> Path:
    """Train and return the model folder `output/model`, which holds the averaged tokenizer.

    Both objectives are taken from one forward pass with the old weights, then both networks take their update.

    Raises:
        ValueError: if the loss wants a perceptual network and none is given, or `init_from` does not fit.
    """
    if config.losses.perceptual_weight and perceptual is None:
        raise ValueError(
            f"losses.perceptual_weight is {config.losses.perceptual_weight} but no perceptual network was given, "
            "set it to 0 to train without"
        )
    loop, losses = config.loop, config.losses
    clips = TrainingClips(config.data, loop.seed)
    fabric = launch(loop, device)
    torch.manual_seed(loop.seed)
    tokenizer = VideoTokenizer(config.tokenizer)
    if config.codebook_init == "latents":
        codebook_from_latents(tokenizer, clips)
    if config.init_from:
        start_from(tokenizer, config.init_from, config)
    average, averaged = average_of(tokenizer, config.ema_decay)
    if loop.channels_last:
        layout = torch.channels_last_3d if config.tokenizer.dims == 3 else torch.channels_last
        tokenizer.to(memory_format=layout)  # type: ignore[call-overload]
    generator = Learner(fabric, tokenizer, config.generator_optimizer, loop.num_steps)
    parts: dict[str, Any] = {"generator": generator, "average": average.to(fabric.device)}
    adversary, lecam = None, LeCam().to(fabric.device)
    if losses.adversarial_weight:
        adversary = Learner(fabric, Discriminator(config.discriminator), config.discriminator_optimizer, loop.num_steps)
        parts |= {"discriminator": adversary, "lecam": lecam}
    discriminator = adversary.module if adversary else None

    model_config = ModelConfig(1, config.tokenizer, config.data.clip_shape, classes=clips.classes, fps=config.data.fps)
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
            video = next(batches)["video"]
            more_to_come = piece < pieces - 1
            with fabric.no_backward_sync(generator.wrapped, enabled=more_to_come):
                out = generator.wrapped(video)
                if discriminator is not None:
                    discriminator.requires_grad_(False)
                with fabric.autocast():
                    loss, terms = generator_objective(
                        video, out, tokenizer.quantizer, discriminator, losses, step, perceptual
                    )
                fabric.backward(loss / pieces)
            if adversary is not None:
                discriminator = adversary.module.requires_grad_(True)
                with fabric.no_backward_sync(adversary.wrapped, enabled=more_to_come):
                    with fabric.autocast():  # around the bare module: the engine's wrapper forbids the gradient of R1
                        loss, more = discriminator_objective(video, out.reconstruction, discriminator, lecam, losses)
                    fabric.backward(loss / pieces)
                terms |= more
            metrics.append(terms)
        rate, norm = generator.update(step)
        if adversary is not None:
            adversary.update(step)
        average.update_parameters(tokenizer)

        done = step + 1
        if fabric.is_global_zero and (done % loop.log_every == 0 or done == loop.num_steps):
            values = mean_metrics(metrics) | {"gradient_norm": norm.item(), "lr": rate}
            usage, perplexity = codebook_usage(out.tokens, config.tokenizer.codebook_size)
            seconds, clock = time.perf_counter() - clock, time.perf_counter()
            rate_now = (done - last_logged) * loop.global_batch_size / seconds
            last_logged = done
            values |= {"codebook_usage": usage, "perplexity": perplexity, "clips_per_second": rate_now}
            log.scalars(done, values)
            bar.set_postfix(loss=f"{values['total_loss']:.4f}", perplexity=f"{perplexity:.0f}")
        if fabric.is_global_zero and (done % loop.sample_every == 0 or done == loop.num_steps):
            clip = video[:1].float()
            log.video(done, "reconstruction", torch.cat([clip, averaged.reconstruct(clip)], dim=4)[0].cpu())
        if done % loop.checkpoint_every == 0 or done == loop.num_steps:
            if fabric.is_global_zero:
                state = {"step": done} | {name: part.state_dict() for name, part in parts.items()}
                save_checkpoint(output / "checkpoints", done, state, loop.keep_checkpoints)
                MagvitPipeline(model_config, averaged).save_pretrained(output / "model")
            fabric.barrier()
    log.close()
    return output / "model"


def start_from(tokenizer: VideoTokenizer, model: str, config: TokenizerRun) -> None:
    """Load a trained tokenizer of the same size, or inflate its 2D sibling."""
    folder = hub.resolve(model)
    source = ModelConfig.from_dict(hub.load_config(folder), str(folder / hub.CONFIG)).tokenizer
    tensors = hub.load_tensors(folder, "tokenizer")
    if source == config.tokenizer:
        hub.load_state(tokenizer, tensors, folder)
    elif source.dims == 2 and replace(source, dims=3) == config.tokenizer:
        inflate(tensors, tokenizer, config.inflation)
    else:
        raise ValueError(f"init_from {model!r} holds {source}, expected {config.tokenizer} or its 2D sibling")


@torch.no_grad()
def codebook_from_latents(tokenizer: VideoTokenizer, clips: TrainingClips) -> None:
    """Set the codebook to latents of the untrained encoder at random places of as many drawn clips as that takes."""
    codebook = tokenizer.quantizer.codebook
    found: list[Tensor] = []
    for key in EndlessSampler(len(clips), seed=0):
        latents = tokenizer.encode_latents(clips[key]["video"][None])
        found.append(rearrange(latents, "1 d t h w -> (t h w) d"))
        if sum(map(len, found)) >= len(codebook):
            break
    latents = torch.cat(found)
    codebook.copy_(latents[torch.randperm(len(latents))[: len(codebook)]])
