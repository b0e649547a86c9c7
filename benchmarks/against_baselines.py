"""A model of the drawn robot arm against what one can make without a model: the table of magvit-tiny's card.

    python benchmarks/against_baselines.py --clips 32

For each task: PSNR of the pixels that were not given, the Frechet distance by a small network of the package (not FVD)
to 128 other clips, and how many clips that network reads as their class; of the model, given pixels kept, and in
brackets of the best baseline.
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
from magvit.tasks import TEN_TASKS, get_task

REAL, BATCH = 128, 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="magvit-tiny")
    parser.add_argument("--clips", type=int, default=32)
    parser.add_argument("--features", choices=("pushing", "shapes"), default="pushing")
    options = parser.parse_args()
    pipe = MagvitPipeline.from_pretrained(options.model, precision="bfloat16")
    world = SYNTHETIC["pushing"](pipe.config.clip_shape, HELD_OUT)
    clips = torch.stack([world[i]["video"] for i in range(options.clips)])
    labels = torch.arange(options.clips) % len(world.classes)
    network = load_synthetic(options.features)

    @torch.inference_mode()
    def features(video: Tensor) -> Tensor:
        return torch.cat([network.features(part) for part in video.split(BATCH)])

    real = FeatureStatistics.of(features(torch.stack([world[1000 + i]["video"] for i in range(REAL)])))
    latent_shape = pipe.config.tokenizer.latent_shape(pipe.config.clip_shape)
    print("| task | PSNR | distance | read as its class |\n|---|---|---|---|")
    for task in map(get_task, TEN_TASKS):
        condition = task.condition(clips, latent_shape, pipe.config.condition_frames)
        made = []
        for numbers in torch.arange(options.clips).split(BATCH):
            given = clips[numbers] if task.needs_video else None
            names = [world.classes[label] for label in labels[numbers]] if task.class_conditional else None
            seeds, keep = numbers.tolist(), task.needs_video
            made.append(pipe(task.name, given, names, seed=seeds, keep_given=keep).video.float())
        unknown = (~condition.cond_mask).expand_as(clips)
        scores = []
        for video in (torch.cat(made), *(fill(name, condition) for name in RULES)):
            error = ((video - clips).square() * unknown).flatten(1).sum(1) / unknown.flatten(1).sum(1)
            seen = features(video)
            right = (network.classifier(seen).argmax(1) == labels).float().mean().item()
            distance = frechet_distance(FeatureStatistics.of(seen), real)
            scores.append((-10 * error.log10().mean().item(), -distance, 100 * right))
        rows = []
        for form, (model, *others) in zip(("{:.2f}", "{:.1f}", "{:.0f} %"), zip(*scores, strict=True), strict=True):
            rows.append(f"{form} ({form})".format(abs(model), abs(max(others))))
        print(f"| {task.name} | {' | '.join(rows)} |", flush=True)


if __name__ == "__main__":
    main()
