"""The regions that the `free` task is trained on."""

import torch

from magvit.seeds import generator_for
from magvit.synthetic import synthetic_clips
from magvit.tasks import get_task
from magvit.tasks.conditions import given_tokens
from magvit.tasks.free import random_region

GRID = (16, 32, 32)


def regions(count: int) -> torch.Tensor:
    return torch.stack([random_region(GRID, generator_for(i)) for i in range(count)])


def test_regions_are_of_every_kind_and_never_everything() -> None:
    known = regions(200)
    share = known.float().flatten(1).mean(1)
    assert share.min() > 0
    assert share.max() < 1
    assert (share < 0.3).any()
    assert (share > 0.7).any()
    by_frame = known.flatten(2).float().mean(2)
    assert ((by_frame == 0).any(1) & (by_frame == 1).any(1)).sum() > 20, "whole frames"
    moving = (known != known[:, :1]).flatten(1).any(1) & ~(by_frame == 1).any(1)
    assert moving.sum() > 20
    given = given_tokens(known[:, None], (4, 8, 8)).flatten(1)
    assert (~given).any(1).float().mean() > 0.9, "whole tokens to be made"


def test_a_clip_alone_says_which_region() -> None:
    world = synthetic_clips(("pushing",), GRID, seed=0)
    clips = torch.stack([world[i]["video"] for i in range(4)])
    together = get_task("free").condition(clips, (4, 8, 8))
    alone = get_task("FREE").condition(clips[2:3], (4, 8, 8))
    assert torch.equal(together.cond_mask[2:3], alone.cond_mask)
    assert torch.equal(together.cond_token_mask[2:3], alone.cond_token_mask)
    assert not torch.equal(together.cond_mask[0], together.cond_mask[1])
    assert torch.equal(alone.cond_token_mask, given_tokens(alone.cond_mask, (4, 8, 8)))
