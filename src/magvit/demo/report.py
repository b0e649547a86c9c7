"""`report.md` of the demo: what was done, how long it took, on what."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

import magvit
from magvit.markdown import plain
from magvit.model_card import millions
from magvit.pipeline import MagvitPipeline
from magvit.shapes import Video
from magvit.tasks import Task

GIVEN = {
    "frame_prediction": "first {frames}",
    "frame_interpolation": "first and last {frames}",
    "outpainting_central": "the centre",
    "outpainting_vertical": "a vertical band",
    "outpainting_horizontal": "a horizontal band",
    "outpainting_dynamic": "a vertical band that moves",
    "inpainting_central": "all but the centre",
    "inpainting_dynamic": "all but a box that moves",
    "class_generation": "the class",
    "class_frame_prediction": "the class and the first {frames}",
}


@dataclass(frozen=True)
class TaskResult:
    """One task done: where and what the model was given, what it made (batches of one), and in how many seconds."""

    task: Task
    given: Bool[Tensor, "B 1 T H W"]
    condition: Video
    result: Video
    num_tokens: int
    num_steps: int
    seconds: float


def report(pipe: MagvitPipeline, results: Sequence[TaskResult], source: str, seed: int) -> str:
    """The report as Markdown. The videos and the picture lie beside it."""
    frames = "frame" if pipe.config.condition_frames == 1 else f"{pipe.config.condition_frames} frames"
    shape = "x".join(map(str, pipe.config.clip_shape))
    lines = [
        "# Ten tasks, one model",
        "",
        f"Clip: {plain(source)}, as {shape} (frames x height x width). Seed {seed}.",
        "",
        "| task | code | given | seconds | tokens | steps | condition and result |",
        "|---|---|---|---|---|---|---|",
    ]
    for item in results:
        name, given = item.task.name, GIVEN[item.task.name].format(frames=frames)
        numbers = f"{item.seconds:.1f} | {item.num_tokens} | {item.num_steps}"
        lines.append(f"| {name} | {item.task.alias} | {given} | {numbers} | [{name}.mp4]({name}.mp4) |")
    total = sum(item.seconds for item in results)
    assert pipe.transformer is not None
    lines += [
        "",
        f"All together {total:.1f} s. Tokens are those of one whole clip; each step predicts all that are open.",
        "",
        "The given pixels are kept; a line runs along the inside of them.",
        "",
        "![condition and result of each task in motion](ten_tasks.webp)",
        "",
        "![original, then condition and result of each task](contact_sheet.png)",
        "",
        f"* model: tokenizer of {millions(pipe.tokenizer)}, transformer of {millions(pipe.transformer)}",
        f"* device: {_device_name(pipe.device)}, {os.cpu_count()} CPU cores, {platform.system()} {platform.machine()}",
        f"* versions: magvit {magvit.__version__}, torch {torch.__version__}, Python {platform.python_version()}",
    ]
    return "\n".join(lines) + "\n"


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
