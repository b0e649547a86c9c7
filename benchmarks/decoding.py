"""Quality of a model of the drawn robot arm against how its tokens are decoded, on held-out clips.

    python benchmarks/decoding.py num_steps=1,2,4,8,12,16,32,48 --plot docs/images/quality_steps.png
    python benchmarks/decoding.py order=confidence,halton temperature=0.7,0.8,0.9,1 --tasks FP CG --clips 64

All combinations of the given options are tried, the others stay as the model's config says. For each task: PSNR of the
pixels that were not given; the Frechet distance by the package's network of that world (not FVD) to 256 other clips;
the share of clips of which that network reads the class; and seconds a clip. Generation from nothing has no PSNR worth
the name, and a task that is not told the class no more than a guess at it.
"""

import argparse
import itertools
import json
import time
from pathlib import Path

import torch
from torch import Tensor

from magvit.data.synthetic_videos import HELD_OUT
from magvit.decoding import Decoding
from magvit.metrics.frechet import FeatureStatistics, frechet_distance
from magvit.metrics.synthetic import WorldName, load_synthetic
from magvit.pipeline import MagvitPipeline
from magvit.synthetic import SYNTHETIC
from magvit.tasks import Condition, Task, get_task

BATCH = 16
MEASURED = ("distance", "psnr", "accuracy", "seconds")


def options_of(texts: list[str]) -> dict[str, list[object]]:
    """`name=a,b` as values of the types that `Decoding` has."""
    found: dict[str, list[object]] = {}
    for text in texts:
        name, _, values = text.partition("=")
        kind = type(getattr(Decoding(), name))
        found[name] = [kind(value) for value in values.split(",")]
    return found


class Judge:
    """Held-out clips, other ones to compare with, and the network of a world that looks at them."""

    def __init__(self, pipe: MagvitPipeline, clips: int, others: int, features: WorldName = "pushing"):
        self.pipe, self.network = pipe, load_synthetic(features)
        world = SYNTHETIC["pushing"](pipe.config.clip_shape, HELD_OUT)
        drawn = [world[i] for i in range(clips)]
        self.clips = torch.stack([clip["video"] for clip in drawn])
        self.labels = torch.tensor([clip["label"] for clip in drawn])
        self.real = FeatureStatistics.of(self.features(torch.stack([world[1000 + i]["video"] for i in range(others)])))

    @torch.inference_mode()
    def features(self, video: Tensor) -> Tensor:
        return torch.cat([self.network.features(part) for part in video.split(BATCH)])

    def condition(self, task: Task) -> Condition:
        latent_shape = self.pipe.config.tokenizer.latent_shape(self.pipe.config.clip_shape)
        return task.condition(self.clips, latent_shape, self.pipe.config.condition_frames)

    def made(self, task: Task, decoding: Decoding | None = None) -> Tensor:
        """All clips made again by the model, given pixels kept."""
        parts = []
        for numbers in torch.arange(len(self.clips)).split(BATCH):
            given = self.clips[numbers] if task.needs_video else None
            labels = self.labels[numbers] if task.class_conditional else None
            options = {"decoding": decoding, "seed": numbers, "keep_given": task.needs_video}
            parts.append(self.pipe(task.name, given, labels, **options).video.float())
        return torch.cat(parts)

    def distance(self, seen: Tensor) -> float:
        """Of clips, by their features, to the other ones."""
        return frechet_distance(FeatureStatistics.of(seen), self.real)

    def scores(self, task: Task, video: Tensor) -> dict[str, float]:
        """Distance, accuracy of the class, and PSNR of what was not given."""
        seen, unknown = self.features(video), (~self.condition(task).cond_mask).expand_as(video)
        error = ((video - self.clips).square() * unknown).flatten(1).sum(1) / unknown.flatten(1).sum(1)
        return {
            "distance": self.distance(seen),
            "psnr": -10 * error.log10().mean().item(),
            "accuracy": (self.network.classifier(seen).argmax(1) == self.labels).float().mean().item(),
        }


def plot(lines: list[dict[str, object]], varied: str, path: Path) -> None:
    """Distance, PSNR and accuracy over the one option that was varied, a line a task; no PSNR from nothing."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = MEASURED[:3]
    colours = {task: f"C{number}" for number, task in enumerate(dict.fromkeys(line["task"] for line in lines))}
    figure, axes = pyplot.subplots(1, len(names), figsize=(4 * len(names), 3.2), constrained_layout=True, squeeze=False)
    for axis, name in zip(axes[0], names, strict=True):
        for task, colour in colours.items():
            if name != "psnr" or get_task(str(task)).needs_video:
                points = [(line[varied], line[name]) for line in lines if line["task"] == task]
                axis.plot(*zip(*points, strict=True), marker="o", markersize=3, label=task, color=colour)
        axis.set(xlabel=varied, title=name)
        if varied == "num_steps":
            axis.set_xscale("log")
            values = sorted({line[varied] for line in lines})
            axis.set_xticks(values, list(map(str, values)))
            axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0][0].legend(fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vary", nargs="+", help="options of Decoding with their values: name=a,b,c")
    parser.add_argument("--model", default="magvit-tiny")
    parser.add_argument("--tasks", nargs="+", default=["FP", "FI", "OPC", "IPC", "CG"])
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--output", type=Path, help="also write the numbers, a JSON object a line")
    parser.add_argument("--plot", type=Path, help="a picture, where one option is varied")
    options = parser.parse_args()
    varied = options_of(options.vary)
    if options.plot and len(varied) > 1:
        parser.error("--plot needs one option to vary")
    pipe = MagvitPipeline.from_pretrained(options.model, precision="bfloat16")
    judge = Judge(pipe, options.clips, others=256)
    lines: list[dict[str, object]] = []
    print("|", " | ".join(["task", *varied, *MEASURED]), f"|\n|{'---|' * (len(varied) + 1 + len(MEASURED))}")
    for task in map(get_task, options.tasks):
        for values in itertools.product(*varied.values()):
            chosen = dict(zip(varied, values, strict=True))
            begun = time.perf_counter()
            made = judge.made(task, pipe.decoding(task.name, **chosen))
            found = {"seconds": (time.perf_counter() - begun) / len(made), **judge.scores(task, made)}
            lines.append({"task": task.alias, **chosen, **found})
            numbers = [f"{found[name]:.2f}" for name in MEASURED]
            print("|", " | ".join([task.alias, *map(str, values), *numbers]), "|", flush=True)
    if options.output:
        options.output.write_text("".join(json.dumps(line) + "\n" for line in lines))
    if options.plot:
        plot(lines, next(iter(varied)), options.plot)


if __name__ == "__main__":
    main()
