"""A model of the drawn robot arm against what one can make without a model: the table of magvit-tiny's card.

    python benchmarks/against_baselines.py --clips 32

For each task that is given something: PSNR of the pixels that were not given, and the Frechet distance by the package's
small network of moving shapes (not FVD) to 128 other clips; of the model, given pixels kept, and of the best baseline.
"""

import argparse

import torch
from torch import Tensor

from magvit.data.synthetic_videos import HELD_OUT
from magvit.evaluation.baselines import RULES, fill
from magvit.metrics.frechet import FeatureStatistics, frechet_distance
from magvit.metrics.synthetic import load_synthetic
from magvit.pipeline import MagvitPipeline
from magvit.synthetic import SYNTHETIC
from magvit.tasks import EIGHT_TASKS, TASKS

REAL, BATCH = 128, 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="magvit-tiny")
    parser.add_argument("--clips", type=int, default=32)
    options = parser.parse_args()
    pipe = MagvitPipeline.from_pretrained(options.model, precision="bfloat16")
    world = SYNTHETIC["pushing"](pipe.config.clip_shape, HELD_OUT)
    clips = torch.stack([world[i]["video"] for i in range(options.clips)])
    network = load_synthetic()

    @torch.inference_mode()
    def statistics(video: Tensor) -> FeatureStatistics:
        return FeatureStatistics.of(torch.cat([network.features(part) for part in video.split(BATCH)]))

    real = statistics(torch.stack([world[1000 + i]["video"] for i in range(REAL)]))
    latent_shape = pipe.config.tokenizer.latent_shape(pipe.config.clip_shape)
    print("| task | PSNR | distance |\n|---|---|---|")
    for task in map(TASKS.__getitem__, EIGHT_TASKS):
        condition = task.condition(clips, latent_shape, pipe.config.condition_frames)
        made = [
            pipe(task.name, part, seed=list(range(start, start + len(part))), keep_given=True).video.float()
            for start, part in zip(range(0, len(clips), BATCH), clips.split(BATCH), strict=True)
        ]
        unknown = (~condition.cond_mask).expand_as(clips)
        scores = []
        for video in (torch.cat(made), *(fill(name, condition) for name in RULES)):
            error = ((video - clips).square() * unknown).flatten(1).sum(1) / unknown.flatten(1).sum(1)
            scores.append((-10 * error.log10().mean().item(), frechet_distance(statistics(video), real)))
        (psnr, distance), *others = scores
        best = max(score[0] for score in others), min(score[1] for score in others)
        print(f"| {task.name} | {psnr:.2f} ({best[0]:.2f}) | {distance:.1f} ({best[1]:.1f}) |", flush=True)


if __name__ == "__main__":
    main()
