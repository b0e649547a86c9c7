"""What anyone can make of a condition without a model: what a model has to beat.

Each is a function of the condition, its pixels `B 3 T H W` zero where nothing is given; the given pixels are kept.

| name | unknown pixels are |
|---|---|
| `repeat` | the same pixel in the given frame before, or else in the next one |
| `interpolate` | between the given frames before and after, in proportion to the time; beyond them as `repeat` |
| `edge` | the nearest given pixel of their frame in the same row, or else of the nearest row |
| `blend` | the mean of what lies between the given pixels left and right, and between those above and below |
| `mean` | the mean colour of what is given of the clip |

What a rule leaves unknown has the mean colour, and mid-grey where nothing is given at all. `train` is no function of
the condition: a clip of another video of the data that is evaluated on, drawn by the sample's seed.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from magvit.shapes import Video
from magvit.tasks import Condition

Known = Bool[Tensor, "B 1 T H W"]


def fill(name: str, condition: Condition) -> Video:
    """The clip that a baseline makes of a condition; `name` is one of `RULES`."""
    video, known = condition.cond_video, condition.cond_mask
    video = torch.where(known, video, 0.0)
    made, found = RULES[name](video, known)
    return torch.where(known, video, torch.where(found, made, _mean(video, known)))


def _between(video: Video, known: Known, axis: int) -> tuple[Video, Known, Video, Known, Float[Tensor, "B 1 T H W"]]:
    """Along an axis: the given values before and after each place, whether there are any, and the way between."""
    place = torch.arange(video.shape[axis], device=video.device).view([-1 if i == axis else 1 for i in range(5)])
    size, place = video.shape[axis], place.expand(known.shape)
    before = torch.where(known, place, -1).cummax(axis).values
    after = torch.where(known, place, size).flip(axis).cummin(axis).values.flip(axis)
    has_before, has_after = before >= 0, after < size
    earlier = video.gather(axis, before.clamp(min=0).expand(video.shape))
    later = video.gather(axis, after.clamp(max=size - 1).expand(video.shape))
    way = (place - before) / (after - before).clamp(min=1)
    return earlier, has_before, later, has_after, way


def _nearest(video: Video, known: Known, axis: int) -> tuple[Video, Known]:
    earlier, has_before, later, has_after, way = _between(video, known, axis)
    first = has_before & (~has_after | (way <= 0.5))
    return torch.where(first, earlier, later), has_before | has_after


def _linear(video: Video, known: Known, axis: int) -> tuple[Video, Known]:
    earlier, has_before, later, has_after, way = _between(video, known, axis)
    way = torch.where(has_before & has_after, way, has_after.float())
    return earlier + way * (later - earlier), has_before | has_after


def _repeat(video: Video, known: Known) -> tuple[Video, Known]:
    earlier, has_before, later, has_after, _ = _between(video, known, 2)
    return torch.where(has_before, earlier, later), has_before | has_after


def _edge(video: Video, known: Known) -> tuple[Video, Known]:
    rows, found = _nearest(video, known, 4)
    return _nearest(torch.where(known, video, rows), known | found, 3)


def _blend(video: Video, known: Known) -> tuple[Video, Known]:
    across, found_across = _linear(video, known, 4)
    down, found_down = _linear(video, known, 3)
    count = found_across.float() + found_down.float()
    return (across * found_across + down * found_down) / count.clamp(min=1), count > 0


def _mean(video: Video, known: Known) -> Float[Tensor, "B 3 1 1 1"]:
    count = known.float().sum((1, 2, 3, 4)).view(-1, 1, 1, 1, 1)
    return torch.where(count > 0, video.sum((2, 3, 4), keepdim=True) / count.clamp(min=1), 0.5)


RULES: dict[str, Callable[[Video, Known], tuple[Video, Known]]] = {
    "repeat": _repeat,
    "interpolate": lambda video, known: _linear(video, known, 2),
    "edge": _edge,
    "blend": _blend,
    "mean": lambda video, known: (video, torch.zeros_like(known)),
}
BASELINES = (*RULES, "train")
