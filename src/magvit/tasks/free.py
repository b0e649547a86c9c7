"""The `free` task, newer than the paper: any part of a clip is given. It learns from random boxes, strokes and frames.

Which part, is a function of the clip itself, as with every other task: what is drawn is seeded by its pixels.
"""

from itertools import pairwise

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from magvit.seeds import generator_for
from magvit.shapes import Grid, Video
from magvit.tasks.conditions import Condition, masked


def free(video: Video, latent_shape: Grid) -> Condition:
    """A random part of each clip is given, the rest is zero; see `random_region`."""
    return masked(video, known_regions(video).to(video.device), latent_shape)


def known_regions(video: Video) -> Bool[Tensor, "B 1 T H W"]:
    """What is given of each clip, on the CPU; waits for the clips."""
    _, _, T, H, W = video.shape
    samples = (video.flatten(1)[:, ::997] * 255).round().long().tolist()
    return torch.stack([random_region((T, H, W), generator_for(*sample)) for sample in samples])[:, None]


def random_region(grid: Grid, generator: torch.Generator) -> Bool[Tensor, "T H W"]:
    """What is given of a clip, one of four with equal chance; boxes and strokes move on a straight line.

    All but one to three boxes; all but one to three strokes; one box; one to three frames or runs of up to a quarter
    of the clip, in half the draws beside one box.
    """
    T = grid[0]
    kind, count, with_box = (int(torch.randint(high, (), generator=generator)) for high in (4, 3, 2))
    if kind == 0:
        return ~torch.stack([_box(grid, generator, 0.15, 0.6) for _ in range(count + 1)]).any(0)
    if kind == 1:
        return ~torch.stack([_stroke(grid, generator) for _ in range(count + 1)]).any(0)
    if kind == 2:
        return _box(grid, generator, 0.3, 0.8)
    known = torch.zeros(grid, dtype=torch.bool)
    for start, length in torch.rand(count + 1, 2, generator=generator).tolist():
        known[int(T * start) :][: 1 + int(T / 4 * length)] = True
    return known | _box(grid, generator, 0.3, 0.8) if with_box else known


def _points(grid: Grid) -> tuple[Float[Tensor, "H 1"], Float[Tensor, " W"]]:
    """Rows and columns of the pixels' centres, in [0, 1]."""
    _, H, W = grid
    return ((torch.arange(H) + 0.5) / H)[:, None], (torch.arange(W) + 0.5) / W


def _way(T: int, places: Float[Tensor, "2"], others: Float[Tensor, "2"]) -> Float[Tensor, "T 1 1 2"]:
    """From one place to another in `T` frames."""
    return (places + torch.linspace(0, 1, T)[:, None] * (others - places))[:, None, None]


def _box(grid: Grid, generator: torch.Generator, smallest: float, largest: float) -> Bool[Tensor, "T H W"]:
    """A box whose height and width are shares of the frame's within these bounds."""
    size, first, last, moves = torch.rand(4, 2, generator=generator)
    size = smallest + (largest - smallest) * size
    top = _way(grid[0], first * (1 - size), (last if moves[0] < 0.5 else first) * (1 - size))
    rows, columns = _points(grid)
    rows, columns = rows - top[..., 0], columns - top[..., 1]
    return (rows >= 0) & (rows < size[0]) & (columns >= 0) & (columns < size[1])


def _stroke(grid: Grid, generator: torch.Generator) -> Bool[Tensor, "T H W"]:
    """Three segments, each from where the last one ended, 0.1 to 0.3 of the frame wide."""
    width, moves = torch.rand(2, generator=generator).tolist()
    corners, shift = torch.rand(4, 2, generator=generator), torch.rand(2, generator=generator) - 0.5
    away = _way(grid[0], torch.zeros(2), shift if moves < 0.5 else torch.zeros(2))
    rows, columns = _points(grid)
    points = torch.stack(torch.broadcast_tensors(rows, columns), -1) - away
    near = torch.zeros(grid, dtype=torch.bool)
    for start, end in pairwise(corners):
        along = (end - start) / (end - start).square().sum().clamp_min(1e-6)
        nearest = start + ((points - start) @ along).clamp(0, 1)[..., None] * (end - start)
        near |= (points - nearest).square().sum(-1) < (0.05 + 0.1 * width) ** 2
    return near
