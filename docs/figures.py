"""The figures of docs/ten_minutes.md, made by a model on a clip that is drawn: `python docs/figures.py MODEL`.

In maps of tokens yellow is given or settled, dark is open, blue is a true token.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from jaxtyping import Float, Int
from torch import Tensor

import magvit
from magvit.decoding import DecodingStep
from magvit.demo.ten_tasks import drawn_clip
from magvit.tasks import TASKS, TEN_TASKS, mask_ratio, mask_tokens
from magvit.video.contact_sheet import contact_sheet

IMAGES = Path(__file__).parent / "images"
YELLOW, DARK, BLUE = (1.0, 0.85, 0.1), (0.15, 0.15, 0.2), (0.2, 0.45, 0.8)
Row = tuple[str, Float[Tensor, "3 T H W"]]


def figures(model: str, images: Path = IMAGES) -> None:
    """Write all of them."""
    pipe = magvit.MagvitPipeline.from_pretrained(model)
    drawn, _, label = drawn_clip(pipe, seed=0)
    clip = pipe.prepare(drawn)
    save(tokens(pipe, clip), images / "tokens.webp")
    save(conditions(pipe, clip), images / "conditions.webp")
    save(commit(pipe, clip), images / "commit.webp")
    save(decoding(pipe, clip, label), images / "decoding.webp", most=12)
    schedules(pipe, images / "schedules.svg")


def save(rows: list[Row], path: Path, most: int = 8) -> None:
    """Labelled rows as one picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet(rows, most).save(path, quality=80)


def painted(pipe: magvit.MagvitPipeline, numbers: Int[Tensor, "t h w"], palette: Tensor) -> Float[Tensor, "3 t H W"]:
    """A grid of tokens as pictures, one colour a number, as large as the model's frames."""
    factors = [pixels // cells for pixels, cells in zip(pipe.config.clip_shape[1:], numbers.shape[1:], strict=True)]
    colours = palette[numbers.cpu().long()].movedim(-1, 0)
    return colours.repeat_interleave(factors[0], 2).repeat_interleave(factors[1], 3)


def evenly(video: Float[Tensor, "1 3 T H W"], count: int) -> Float[Tensor, "3 count H W"]:
    """So many frames of a clip."""
    return video[0].cpu()[:, torch.linspace(0, video.shape[2] - 1, count).round().long()]


def tokens(pipe: magvit.MagvitPipeline, clip: Tensor) -> list[Row]:
    """A clip, its tokens in colours drawn by lot, below the frames that they stand for, and what is made of them."""
    grid = pipe.tokenizer.encode(clip)
    palette = torch.rand(pipe.config.tokenizer.codebook_size, 3, generator=torch.Generator().manual_seed(0))
    layers = painted(pipe, grid[0], palette).repeat_interleave(8 // grid.shape[1], 1)
    return [("clip", evenly(clip, 8)), ("tokens", layers), ("decoded", evenly(pipe.tokenizer.decode(grid), 8))]


def conditions(pipe: magvit.MagvitPipeline, clip: Tensor) -> list[Row]:
    """For each task four frames of what is given, and which tokens are."""
    latent_shape, rows = pipe.config.tokenizer.latent_shape(pipe.config.clip_shape), []
    for task in map(TASKS.__getitem__, TEN_TASKS):
        condition = task.condition(clip.cpu(), latent_shape, pipe.config.condition_frames)
        given = painted(pipe, condition.cond_token_mask[0], torch.tensor([DARK, YELLOW]))
        shown = torch.cat([evenly(condition.cond_video, 4), given], 1)
        rows.append((f"{task.name}\n{task.alias}{', and a class' if task.class_conditional else ''}", shown))
    return rows


def commit(pipe: magvit.MagvitPipeline, clip: Tensor) -> list[Row]:
    """What Eq. 2 puts at each position, with less and less masked."""
    task, grid = TASKS["outpainting_central"], pipe.tokenizer.encode(clip)
    condition = task.condition(clip, tuple(grid.shape[1:]), pipe.config.condition_frames)
    given = pipe.encode_condition(condition), condition.cond_token_mask
    scores = torch.rand(grid.shape, generator=torch.Generator().manual_seed(0)).to(grid.device)
    rows = []
    for ratio in (1.0, 0.7, 0.3):
        masked = mask_tokens(grid, *given, scores, torch.tensor([ratio], device=grid.device), mask_token_id=-1)
        kinds = masked.refine.long() + 2 * masked.reconstruct.long()
        rows.append((f"{ratio:.0%} masked", painted(pipe, kinds[0], torch.tensor([DARK, YELLOW, BLUE]))))
    return rows


def decoding(pipe: magvit.MagvitPipeline, clip: Tensor, label: str | int | None) -> list[Row]:
    """The middle frame as it is predicted in each of twelve steps, and which of its tokens are settled."""
    rows = []
    for name in ("class_frame_prediction", "class_generation") if label is not None else ("frame_prediction",):
        task, steps = TASKS[name], list[DecodingStep]()
        given = clip if task.needs_video else None, label if task.class_conditional else None
        pipe(name, *given, num_steps=12, seed=0, callback_on_step_end=steps.append)
        middle, layer = pipe.config.clip_shape[0] // 2, steps[0].tokens.shape[1] // 2
        frames = [pipe.decode_tokens(step.tokens)[0].cpu()[:, middle : middle + 1] for step in steps]
        settled = [painted(pipe, ~step.masked[0, layer : layer + 1], torch.tensor([DARK, YELLOW])) for step in steps]
        rows += [(f"{name}\nsteps 1 to 12", torch.cat(frames, 1)), ("settled", torch.cat(settled, 1))]
    return rows


def schedules(pipe: magvit.MagvitPipeline, path: Path, steps: int = 12) -> None:
    """The share that is masked over the progress, and how many tokens each step settles."""
    total = int(torch.tensor(pipe.config.tokenizer.latent_shape(pipe.config.clip_shape)).prod())
    with plt.rc_context({"svg.hashsalt": "magvit", "svg.fonttype": "none", "font.size": 9}):
        figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
        progress = torch.linspace(0, 1, 101)
        for name in ("cosine", "uniform", "exp"):
            left.plot(progress, mask_ratio(name, progress, total), label=name)
            open_tokens = (total * mask_ratio(name, torch.arange(steps + 1) / steps, total)).floor()
            right.plot(range(1, steps + 1), -open_tokens.diff(), "o-", markersize=3, label=name)
        left.set(xlabel="progress", ylabel="share masked")
        right.set(xlabel="step", ylabel=f"tokens settled, of {total}", xticks=range(1, steps + 1))
        left.legend()
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)


if __name__ == "__main__":
    figures(sys.argv[1] if len(sys.argv) > 1 else "magvit-tiny")
