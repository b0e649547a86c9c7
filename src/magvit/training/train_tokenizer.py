"""Stage 1: train the tokenizer (paper section 3.1; `NOTES` section 1). One loop, read it from top to bottom."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from magvit import hub, perceptual
from magvit.data.loader import TrainingClips
from magvit.model_config import ModelConfig
from magvit.pipeline import MagvitPipeline
from magvit.seeds import generator_for
from magvit.shapes import Video
from magvit.tasks import TASKS
from magvit.tokenizer import Discriminator, VideoTokenizer, inflate
from magvit.tokenizer.quantizer import codebook_usage
from magvit.training.checkpoint import load_newest_checkpoint
from magvit.training.checks import Finding, check_gradients, check_quantizer_start, clip_std
from magvit.training.codebook import codebook_from_latents, fit_linear_path
from magvit.training.config import TokenizerLossConfig, TokenizerRun
from magvit.training.engine import (
    THIS_MACHINE,
    Learner,
    Machine,
    StepMeans,
    average_of,
    channels_last,
    launch,
    mean_metrics,
    on_device,
)
from magvit.training.objectives import Adversary, generator_objective, this_piece
from magvit.training.processes import over_processes
from magvit.training.run import Run, check_output


def train_tokenizer(
    config: TokenizerRun,
    output: Path,
    *,
    resume: bool = False,
    machine: Machine = THIS_MACHINE,
    progress: bool = True,
) -> Path:
    """Train and return the model folder `output/model`, which holds the averaged tokenizer.

    Both objectives are taken from one forward pass with the old weights, then both networks take their update.

    Raises:
        ValueError: if parts of the run do not fit each other, or the run folder holds another run.
        OSError: if clips, weights or the run folder are not to be had.
    """
    if machine.strategy != "ddp":
        raise ValueError(f"strategy is {machine.strategy}, expected ddp: only transformers can be shared out")
    check_output(output, config, resume)
    loop, losses = config.loop, config.losses
    clips = TrainingClips(config.data, loop.seed)
    distance = None
    if losses.perceptual != "none" and losses.perceptual_weight:
        distance = perceptual.load(losses.perceptual, losses.perceptual_weights)
    fabric = launch(loop, machine)
    torch.manual_seed(loop.seed)
    tokenizer = VideoTokenizer(config.tokenizer)
    begins = not (resume and any((output / "checkpoints").glob("step_*.pt")))
    if config.tokenizer.linear_path and begins:
        fit_linear_path(tokenizer, clips)
    if config.codebook_init != "uniform" and not config.quantizer_start and not config.init_from and begins:
        codebook_from_latents(tokenizer, clips, config.codebook_init == "kmeans")
    if config.init_from and begins:
        start_from(tokenizer, config.init_from, config)
    if config.train == "decoder":
        tokenizer.encoder.requires_grad_(False)
        tokenizer.quantizer.requires_grad_(False)
    if loop.channels_last:
        channels_last(tokenizer, config.tokenizer.dims, fabric)
    average, averaged = average_of(tokenizer, config.ema_decay)
    tokenizer.rematerialize = loop.rematerialize
    generator = Learner(fabric, tokenizer, config.generator_optimizer, loop.num_steps)
    parts: dict[str, Any] = {"generator": generator, "average": on_device(average, fabric)}
    adversary, discriminator = None, None
    findings = check_quantizer_start(config.quantizer_start, loop.num_steps)
    if losses.adversarial_weight:
        discriminator = Discriminator(config.discriminator)
        discriminator.rematerialize = loop.rematerialize
        if config.init_from and begins:
            findings += start_discriminator_from(discriminator, config.init_from, config)
        if loop.channels_last:
            channels_last(discriminator, config.discriminator.dims, fabric)
        adversary = Learner(fabric, Adversary(discriminator, losses), config.discriminator_optimizer, loop.num_steps)
        parts["adversary"] = adversary
    if distance is not None:
        distance.to(fabric.device)

    model_config = ModelConfig(
        tokenizer=config.tokenizer, clip_shape=config.data.clip_shape, classes=clips.classes, fps=config.data.fps
    )
    run = Run(fabric, config, output, parts, clips, resume=resume, progress=progress)
    run.guard.warn(run.start, findings)
    for step in run.steps():
        done = step + 1
        quantize = step >= config.quantizer_start
        losses = config.losses if quantize else of_autoencoder(config.losses)
        if step == config.quantizer_start > 0:
            codebook_from_latents(tokenizer, clips, config.codebook_init == "kmeans")
            codebook = tokenizer.quantizer.codebook.detach()
            codebook.copy_(fabric.broadcast(codebook.cpu()))  # on a GPU each process sums in another order
            averaged.quantizer.load_state_dict(tokenizer.quantizer.state_dict())
        videos = [shown_as_conditions(batch["video"], config, first) for first, batch in run.batches(step)]
        means = StepMeans(fabric, run.pieces)
        of_means = losses.entropy_weight or (adversary is not None and losses.lecam_weight)
        whole = means if losses.batch_statistics == "global" and of_means else this_piece
        if run.pieces > 1 and whole is means:
            with torch.no_grad(), fabric.autocast():
                for video in videos:
                    out = tokenizer(video, quantize)
                    generator_objective(video, out, tokenizer.quantizer, None, losses, step, whole=means.measure)
                    if adversary is not None:
                        adversary.module(video, out.reconstruction, False, means.measure)

        metrics, tokens = [], []
        for number, video in enumerate(videos):
            more_to_come = number < run.pieces - 1
            with fabric.no_backward_sync(generator.wrapped, enabled=more_to_come):
                out = generator.wrapped(video, quantize)
                if discriminator is not None:
                    discriminator.requires_grad_(False)
                with fabric.autocast():
                    loss, terms = generator_objective(
                        video, out, tokenizer.quantizer, discriminator, losses, step, distance, whole
                    )
                fabric.backward(loss / run.pieces)
            if adversary is not None:
                adversary.module.requires_grad_(True)
                with fabric.no_backward_sync(adversary.wrapped, enabled=more_to_come):
                    with_r1 = done % losses.r1_interval == 0
                    loss, more = adversary.wrapped(video, out.reconstruction.detach(), with_r1, whole)
                    fabric.backward(loss / run.pieces)
                terms |= more
            terms |= {"video_std": clip_std(video), "reconstruction_std": clip_std(out.reconstruction)}
            run.guard.see(done, terms)
            metrics.append(terms)
            tokens.append(out.tokens)
        if step == run.start:
            trained = tokenizer if config.train == "all" else tokenizer.decoder
            run.guard.warn(done, check_gradients("tokenizer", trained))
        rate, norm = generator.update(step)
        run.guard.see(done, {"gradient_norm": norm})
        if adversary is not None:
            adversary.update(step)
            real, fake = (
                torch.stack([terms[name] for terms in metrics]).mean() for name in ("real_logits", "fake_logits")
            )
            adversary.module.lecam.update(over_processes(fabric, real.detach()), over_processes(fabric, fake.detach()))
        average.update_parameters(tokenizer)

        if run.due(done, loop.log_every):
            values = mean_metrics(metrics, fabric) | {"gradient_norm": norm.item(), "lr": rate}
            of_step = cast(Tensor, fabric.all_gather(torch.cat(tokens)))
            if quantize:
                usage, perplexity = codebook_usage(of_step, config.tokenizer.codebook_size)
                values |= {"codebook_usage": usage, "perplexity": perplexity}
            run.record(done, values, shown="perplexity")
        if run.due(done, loop.sample_every):
            with run.together():
                if run.log is not None:
                    clip = video[:1].float()
                    both = torch.cat([clip, averaged.reconstruct(clip)], dim=4)[0].cpu()
                    run.log.video(done, "reconstruction", both, config.data.fps)
        run.evaluate(done, lambda: MagvitPipeline(model_config, averaged))
        if run.stop.agreed(done) or run.due(done, loop.checkpoint_every):
            run.save(done, lambda: MagvitPipeline(model_config, averaged))
    return output / "model"


def of_autoencoder(losses: TokenizerLossConfig) -> TokenizerLossConfig:
    """The losses before the quantizer is in use."""
    return replace(losses, commitment_weight=0.0, codebook_weight=0.0, entropy_weight=0.0)


def start_from(tokenizer: VideoTokenizer, model: str, config: TokenizerRun) -> None:
    """Load a trained tokenizer of the same size, or inflate its 2D sibling."""
    folder = hub.resolve(model)
    source = ModelConfig.load(folder).tokenizer
    tensors = hub.load_tensors(folder, "tokenizer")
    if source == config.tokenizer:
        hub.load_state(tokenizer, tensors, folder)
    elif source.dims == 2 and replace(source, dims=3) == config.tokenizer:
        inflate(tensors, tokenizer, config.inflation)
    else:
        raise ValueError(f"init_from {model!r} holds {source}, expected {config.tokenizer} or its 2D sibling")


def start_discriminator_from(discriminator: Discriminator, model: str, config: TokenizerRun) -> list[Finding]:
    """The same for the discriminator, if `model` lies in a run folder with a checkpoint whose discriminator fits."""
    state = load_newest_checkpoint(hub.resolve(model).parent / "checkpoints") or {}
    weights = state.get("adversary", {"module": {}})["module"]
    prefix = "discriminator."
    found = {name.removeprefix(prefix): weights[name] for name in weights if name.startswith(prefix)}
    try:
        if found and weights[f"{prefix}conv_in.weight"].ndim == discriminator.conv_in.weight.ndim:
            hub.load_state(discriminator, found, hub.resolve(model).parent)
        elif found:
            inflate(found, discriminator, config.inflation)
    except ValueError as error:  # of clips of another size, for example
        return [Finding("warning", "discriminator", f"the discriminator begins anew: {error}")]
    return []


def shown_as_conditions(video: Video, config: TokenizerRun, first: int) -> Video:
    """The clips, of which some are replaced by what a task shows of them: padded, repeated, blended.

    Which, is a pure function of the seed and of a clip's place in the stream, where the first one here is `first`.
    """
    if not config.condition_share:
        return video
    latent_shape = config.tokenizer.latent_shape(config.data.clip_shape)
    shown = [task for task in TASKS.values() if task.needs_video]
    video = video.clone()
    for i in range(len(video)):
        generator = generator_for(config.loop.seed, first + i, -2)
        share, task = torch.rand(2, generator=generator).tolist()
        if share < config.condition_share:
            video[i] = shown[int(task * len(shown))].condition(video[i : i + 1], latent_shape).cond_video[0]
    return video
