"""A small evaluation of the model so far, every so many steps."""

import shutil
from dataclasses import replace
from pathlib import Path

import torch

from magvit.data.clip_set import ClipSet
from magvit.data.loader import clips_of
from magvit.data.synthetic_videos import PREFIX
from magvit.evaluation.evaluate import Evaluation, evaluate
from magvit.evaluation.features import Work
from magvit.evaluation.metrics import Setting, load_networks, metrics_named
from magvit.evaluation.networks import WeightFiles
from magvit.evaluation.protocols import RealSet
from magvit.evaluation.published import RECONSTRUCTION, SMOKE
from magvit.evaluation.subjects import of_pipeline
from magvit.pipeline import MagvitPipeline
from magvit.tasks import get_task
from magvit.training.config import TokenizerRun, TransformerRun


def usable_videos(clips: ClipSet, count: int) -> tuple[list[int], str]:
    """The numbers of the first `count` videos that give a clip, and one line on those before them that do not.

    Raises:
        ValueError: there is none.
    """
    numbers: list[int] = []
    wrong: list[str] = []
    for index in range(len(clips)):
        try:
            clips.take(index)
        except (OSError, ValueError) as error:
            wrong.append(str(error))
        else:
            numbers.append(index)
        if len(numbers) == count:
            break
    if not numbers:
        raise ValueError(f"none of the {len(clips)} videos of {clips.folder} can be used for evaluation: {wrong[0]}")
    looked_at = f"{len(wrong)} of the first {len(wrong) + len(numbers)} videos"
    return numbers, f"{looked_at} cannot be used for evaluation, for example: {wrong[0]}" if wrong else ""


class Evaluator:
    """What a run's `evaluation` asks for, with clips and networks at hand: what is missing is found before training.

    Attributes:
        left_out: one line on videos that cannot be used, which are no reason to stop, as in training; or "".

    Raises:
        ValueError: a metric or task is unknown, or a metric cannot be computed; there are no such clips.
        OSError: clips or weights cannot be had.
    """

    def __init__(self, run: TokenizerRun | TransformerRun):
        config = run.evaluation
        folder = config.data or run.data.folder
        if config.data is None and run.data.synthetic_share == 1:
            folder = PREFIX + run.data.synthetic_sets[0]
        if folder is None:
            raise ValueError("evaluation.data is none, expected a folder of clips: the run reads tokens alone")
        self.seed = run.loop.seed
        self.clips = clips_of(replace(run.data, split=config.split or run.data.split), folder)
        self.videos, self.left_out = usable_videos(self.clips, config.num_samples)
        protocol = RECONSTRUCTION
        if isinstance(run, TransformerRun):
            tasks = [get_task(task) for task in config.tasks or run.tasks[:1]]
            known = [get_task(task) for task in run.tasks]
            if run.task_tokens and (unknown := [task.name for task in tasks if task not in known]):
                raise ValueError(f"evaluation.tasks has {unknown[0]}, expected some of {', '.join(run.tasks)}")
            if (by_class := [task.name for task in tasks if task.class_conditional]) and not self.clips.classes:
                raise ValueError(f"evaluation.tasks has {by_class[0]}, and {folder} has no classes")
            protocol = replace(SMOKE, tasks=tuple(task.name for task in tasks))
        real = RealSet("center", stride=run.data.stride)
        self.protocol = replace(
            protocol, name="training", metrics=config.metrics, num_samples=config.num_samples, real=real
        )
        setting = Setting(
            self.protocol,
            self.clips.clip_shape,
            self.clips.classes,
            samples=config.num_samples,
            reals=len(self.videos),
            codebook_size=1,  # or more: a model has tokens
        )
        for metric in metrics_named(config.metrics):
            metric.check(setting)
        files = WeightFiles(config.i3d, config.c3d, config.lpips)
        self.networks = load_networks(config.metrics, files, torch.device("cpu"))

    def __call__(self, pipe: MagvitPipeline, output: Path) -> dict[str, float]:
        """Evaluate into a folder, anew, and return the numbers as `eval/TASK/METRIC`."""
        shutil.rmtree(output, ignore_errors=True)
        for network in self.networks.modules.values():
            network.to(pipe.device)
        subject = of_pipeline(pipe, self.protocol, self.clips.classes)
        evaluation = Evaluation(self.protocol, self.clips, subject, self.networks, seed=self.seed, videos=self.videos)
        results = evaluate(evaluation, output, Work(pipe.device))
        assert results is not None
        return {f"eval/{score.task}/{score.metric}": score.mean for score in results.scores}
