"""What each newer way of training brings: small models that differ in one thing, trained alike, on held-out clips.

    python benchmarks/ablations.py tokenizer --output runs/ablations --steps 400 --seeds 2
    python benchmarks/ablations.py transformer --output runs/ablations --reproduced runs/reproduce/tiny --steps 600

They are models of `magvit reproduce --scale tiny` (clips of 16x32x32 of the drawn robot arm, 64 tokens of 512 codes);
transformers read the tokens that it has stored. A line is a model: of a tokenizer PSNR and mean absolute error of
clips, PSNR of the given pixels of condition clips, and codes in use; of a transformer the losses at masked positions
of the same draws and, of frame prediction, PSNR and the Frechet distance to 256 other clips. Seconds are those of the
training by the clock: give it a thread of its own.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from decoding import BATCH, Judge

from magvit.metrics.image import psnr
from magvit.pipeline import MagvitPipeline
from magvit.reproduce.plan import Job
from magvit.reproduce.tiny import TINY
from magvit.reproduce.work import Laboratory
from magvit.tasks import get_task
from magvit.tokenizer.quantizer import codebook_usage
from magvit.training.config import TokenizerRun, TransformerRun
from magvit.training.objectives import commit_objective, draw, tokenize
from magvit.training.train_tokenizer import train_tokenizer
from magvit.training.train_transformer import train_transformer

TOKENIZER, TRANSFORMER = "3dvq-b-bair", "magvit-b-mt-bair"
SHOWN = ("frame_prediction", "outpainting_central", "inpainting_central")

PAPERS: dict[str, Any] = {
    "base_channels": 32,
    "channel_multipliers": (1, 2, 2, 4),
    "temporal_downsample": (True, True, False),
    "haar": (1, 1, 1),
    "linear_path": False,
}

Change = Callable[[Any], Any]


def of_size(**changes: object) -> Change:
    return lambda run: replace(run, tokenizer=replace(run.tokenizer, **changes))


def of_run(**changes: object) -> Change:
    return lambda run: replace(run, **changes)


def of_layers(**changes: object) -> Change:
    """Modern ones, whose gated MLP is narrower, so that they have about as many weights."""
    return lambda run: replace(run, block="modern", size=replace(run.size, mlp_size=344), **changes)


TOKENIZERS: dict[str, Change] = {
    "as it is": of_run(),
    "no linear path": of_size(linear_path=False),
    "no linear path, no Haar": of_size(**PAPERS),
    "codes from step 0": of_run(quantizer_start=0),
    "codes from step 0, at random": of_run(quantizer_start=0, codebook_init="uniform"),
    "codes are latents": of_run(codebook_init="latents"),
    "no condition clips": of_run(condition_share=0.0),
}
TRANSFORMERS: dict[str, Change] = {
    "as it is": of_run(),
    "modern layers": of_layers(),
    "modern layers that know the codes": of_layers(knows_codebook=True),
    "stratified ratios": of_run(stratified_ratios=True),
    "two segments": of_run(num_segments=2),
    "average of weights": of_run(ema_decay=0.99),
}


@torch.inference_mode()
def of_tokenizer(judge: Judge) -> dict[str, float]:
    """Reconstruction of the clips, and of what tasks give of them."""
    tokenizer, clips = judge.pipe.tokenizer, judge.clips
    parts = [tokenizer.reconstruct(part) for part in clips.split(BATCH)]
    tokens = torch.cat([tokenizer.encode(part) for part in clips.split(BATCH)])
    usage, perplexity = codebook_usage(tokens, tokenizer.config.codebook_size)
    back = torch.cat(parts)
    return {
        "PSNR": psnr(back, clips).mean().item(),
        "error": (back - clips).abs().mean().item(),
        "PSNR of given pixels": sum(map(partial(of_given, judge), SHOWN)) / len(SHOWN),
        "codes in use": float(usage),
        "perplexity": float(perplexity),
    }


def of_given(judge: Judge, task: str) -> float:
    """PSNR of the pixels that a task gives, in the reconstruction of its condition clip."""
    shown = judge.condition(get_task(task))
    back = torch.cat([judge.pipe.tokenizer.reconstruct(part) for part in shown.cond_video.split(BATCH)])
    error = (back - judge.clips).square() * shown.cond_mask
    share = error.flatten(1).sum(1) / shown.cond_mask.expand_as(error).flatten(1).sum(1)
    return -10 * share.log10().mean().item()


@torch.inference_mode()
def of_transformer(judge: Judge, run: TransformerRun) -> dict[str, float]:
    """Losses of the same draws whatever the run, and frame prediction."""
    pipe = judge.pipe
    drawn_as = replace(run, stratified_ratios=False, label_dropout=0.0)
    tasks, shape = [get_task(name) for name in run.tasks], pipe.config.tokenizer.latent_shape(pipe.config.clip_shape)
    sums, counts = [], []
    for numbers in torch.arange(len(judge.clips)).split(BATCH):
        draws = [draw(drawn_as, tasks, int(number), 0, shape) for number in numbers]
        chosen = [one.task for one in draws]
        batch = tokenize(pipe.tokenizer, judge.clips[numbers], chosen, pipe.config.condition_frames)
        labels = judge.labels[numbers].tolist()
        losses = commit_objective(pipe.transformer, batch, draws, labels, pipe.config.generator.vocabulary, drawn_as)
        sums.append(losses.sums)
        counts.append(losses.counts)
    task = get_task("frame_prediction")
    made = judge.scores(task, judge.made(task))
    means = losses.means(torch.stack(sums).sum(0), torch.stack(counts).sum(0))
    return {**means, "PSNR": made["psnr"], "distance": made["distance"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=["tokenizer", "transformer"])
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--reproduced", type=Path, help="folder of `magvit reproduce`, for its tokenizer and tokens")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--clips", type=int, default=256)
    parser.add_argument("--only", nargs="+", help="some of the models, by their names in the table")
    options = parser.parse_args()
    stage1 = options.stage == "tokenizer"
    if not stage1 and not options.reproduced:
        parser.error("transformer needs --reproduced")
    laboratory = Laboratory(TINY, options.reproduced or options.output, {})
    begun = False
    for seed in range(options.seeds):
        base = laboratory.training(Job("train", TOKENIZER if stage1 else TRANSFORMER, seed))
        for name, change in (TOKENIZERS if stage1 else TRANSFORMERS).items():
            if options.only and name not in options.only:
                continue
            run = shortened(change(base), options.steps)
            found = measured(run, options.output / f"{name}, {seed}".replace(" ", "_"), options.clips)
            if not begun:
                begun = True
                print(f"| model | seed | {' | '.join(found)} |\n|---|---|{'---|' * len(found)}")
            print("|", " | ".join([name, str(seed), *(f"{value:.4g}" for value in found.values())]), "|", flush=True)


def shortened(run: Any, steps: int) -> Any:
    """The run, `steps` long, with a tokenizer's autoencoder phase and a transformer's warm-up in proportion."""
    share = steps / run.loop.num_steps
    loop = replace(run.loop, num_steps=steps, sample_every=steps, checkpoint_every=steps, log_every=max(1, steps // 8))
    if isinstance(run, TokenizerRun):
        return replace(run, loop=loop, quantizer_start=round(run.quantizer_start * share))
    warmup_steps = round(run.optimizer.warmup_steps * share)
    return replace(run, loop=loop, optimizer=replace(run.optimizer, warmup_steps=warmup_steps))


def measured(run: Any, folder: Path, clips: int) -> dict[str, float]:
    begun = time.perf_counter()
    train = train_tokenizer if isinstance(run, TokenizerRun) else train_transformer
    model = train(run, folder, resume=True, progress=False)
    seconds = time.perf_counter() - begun
    judge = Judge(MagvitPipeline.from_pretrained(model), clips, others=256)
    found = of_tokenizer(judge) if isinstance(run, TokenizerRun) else of_transformer(judge, run)
    return {**found, "seconds": seconds}


if __name__ == "__main__":
    main()
