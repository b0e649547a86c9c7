"""A small evaluation of the model so far, every so many steps."""

import shutil
from dataclasses import replace
from pathlib import Path

import torch

from magvit.data.clip_set import ClipSet, Source
from magvit.data.loader import clips_of
from magvit.data.synthetic_videos import PREFIX
from magvit.evaluation.networks import WeightFiles, load_networks
from magvit.evaluation.protocols import RECONSTRUCTION, SMOKE, RealSet
from magvit.evaluation.run import evaluate
from magvit.evaluation.subjects import of_pipeline
from magvit.pipeline import MagvitPipeline
from magvit.tasks import get_task
from magvit.training.config import TokenizerRun, TransformerRun


class _Some(ClipSet):
    """Some videos of a set."""

    def __init__(self, clips: ClipSet, numbers: list[int]):
        self.__dict__.update(clips.__dict__)
        self.all, self.numbers = clips, numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def name(self, index: int) -> str:
        """See `ClipSet`, as for the others."""
        return self.all.name(self.numbers[index])

    def path(self, index: int) -> str:
        """Likewise."""
        return self.all.path(self.numbers[index])

    def label(self, index: int) -> int:
        """Likewise."""
        return self.all.label(self.numbers[index])

    def open(self, index: int) -> Source:
        """Likewise."""
        return self.all.open(self.numbers[index])

    def _is_left_out(self, index: int) -> bool:
        return False

    def _leave_out(self, index: int) -> None:
        raise AssertionError("every one of these could be used")


def _usable(clips: ClipSet, count: int) -> ClipSet:
    """The first `count` videos that give a clip: as in training, bad ones are no reason to stop."""
    numbers: list[int] = []
    for index in range(len(clips)):
        try:
            clips.take(index)
        except (OSError, ValueError):
            continue
        numbers.append(index)
        if len(numbers) == count:
            break
    if not numbers:
        raise ValueError(f"none of the {len(clips)} videos of {clips.folder} can be used for evaluation")
    return _Some(clips, numbers)


class Evaluator:
    """What a run's `evaluation` asks for, with clips and networks at hand: what is missing is found before training.

    Raises:
        ValueError: a metric or task is unknown; there are no such clips.
        OSError: clips or weights cannot be had.
    """

    def __init__(self, run: TokenizerRun | TransformerRun):
        config = run.evaluation
        folder = config.data or run.data.folder
        if folder is None or (config.data is None and run.data.synthetic_share == 1):
            folder = PREFIX + run.data.synthetic_sets[0]
        self.seed = run.loop.seed
        self.clips = _usable(
            clips_of(replace(run.data, split=config.split or run.data.split), folder), config.num_samples
        )
        self.protocol = RECONSTRUCTION
        if isinstance(run, TransformerRun):
            tasks = [get_task(task) for task in config.tasks or run.tasks[:1]]
            if (by_class := [task.name for task in tasks if task.class_conditional]) and not self.clips.classes:
                raise ValueError(f"evaluation.tasks has {by_class[0]}, and {folder} has no classes")
            self.protocol = replace(SMOKE, tasks=tuple(task.name for task in tasks))
        real = RealSet("center", stride=run.data.stride)
        self.protocol = replace(
            self.protocol, name="training", metrics=config.metrics, num_samples=config.num_samples, real=real
        )
        files = WeightFiles(config.i3d, config.c3d, config.lpips)
        self.networks = load_networks(config.metrics, files, torch.device("cpu"))

    def __call__(self, pipe: MagvitPipeline, output: Path) -> dict[str, float]:
        """Evaluate into a folder, anew, and return the numbers as `eval/TASK/METRIC`."""
        shutil.rmtree(output, ignore_errors=True)
        for network in self.networks.modules:
            network.to(pipe.device)
        subject = of_pipeline(pipe, self.protocol, self.clips.classes)
        results = evaluate(
            self.protocol, self.clips, subject, self.networks, output, seed=self.seed, device=pipe.device
        )
        assert results is not None
        return {f"eval/{score.task}/{score.metric}": score.mean for score in results.scores}
