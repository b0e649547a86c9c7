"""A model of the drawn robot arm against what one can make without a model: the table of magvit-tiny's card.

    python benchmarks/against_baselines.py --clips 32

For each task: PSNR of the pixels that were not given, the Frechet distance by a small network of the package (not FVD)
to 128 other clips, and how many clips that network reads as their class; of the model, given pixels kept, and in
brackets of the best baseline.
"""

import argparse

import torch
from decoding import BATCH, Judge

from magvit.evaluation.baselines import RULES, fill
from magvit.pipeline import MagvitPipeline
from magvit.tasks import TEN_TASKS, get_task

COLUMNS = {"psnr": "{:.2f}", "distance": "{:.1f}", "accuracy": "{:.0%}"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="magvit-tiny")
    parser.add_argument("--clips", type=int, default=32)
    parser.add_argument("--features", choices=("pushing", "shapes"), default="pushing")
    options = parser.parse_args()
    pipe = MagvitPipeline.from_pretrained(options.model, precision="bfloat16")
    judge = Judge(pipe, options.clips, others=128, features=options.features)
    again = torch.cat([pipe.tokenizer.reconstruct(part).float() for part in judge.clips.split(BATCH)])
    own, kept = (judge.distance(judge.features(video)) for video in (judge.clips, again))
    print(f"Distance of the clips themselves {own:.1f}, of their reconstructions {kept:.1f}.\n")
    print("| task | PSNR | distance | read as its class |\n|---|---|---|---|")
    for task in map(get_task, TEN_TASKS):
        condition = judge.condition(task)
        videos = judge.made(task), *(fill(name, condition) for name in RULES)
        ours, *others = (judge.scores(task, video) for video in videos)
        cells = []
        for name, form in COLUMNS.items():
            best = (min if name == "distance" else max)(other[name] for other in others)
            cells.append(f"{form} ({form})".format(ours[name], best))
        print(f"| {task.name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
