"""A small evaluation of the model so far, every so many steps."""

import shutil
from dataclasses import replace
from pathlib import Path

import torch

from magvit.data.loader import clips_of
from magvit.data.synthetic_videos import PREFIX
from magvit.evaluation.networks import WeightFiles, load_networks
from magvit.evaluation.protocols import RECONSTRUCTION, SMOKE, RealSet
from magvit.evaluation.run import evaluate
from magvit.evaluation.subjects import of_pipeline
from magvit.pipeline import MagvitPipeline
from magvit.tasks import get_task
from magvit.training.config import TokenizerRun, TransformerRun


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
            folder = PREFIX + run.data.synthetic
        self.seed = run.loop.seed
        self.clips = clips_of(replace(run.data, split=config.split or run.data.split), folder)
        self.protocol = RECONSTRUCTION
        if isinstance(run, TransformerRun):
            tasks = [get_task(task) for task in config.tasks or run.tasks[:1]]
            if (by_class := [task.name for task in tasks if task.class_conditional]) and not self.clips.classes:
                raise ValueError(f"evaluation.tasks has {by_class[0]}, and {folder} has no classes")
            self.protocol = replace(SMOKE, tasks=tuple(task.name for task in tasks))
        real = RealSet("center", count=min(config.num_samples, len(self.clips)), stride=run.data.stride)
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
