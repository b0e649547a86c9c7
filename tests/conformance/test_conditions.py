"""`g_cond.npz`: what each task shows of a clip."""

import re

import torch

from conformance.reference import Reference, References
from magvit.shapes import Grid
from magvit.tasks.commit import given_in_grid
from magvit.tasks.conditions import (
    Condition,
    Region,
    frame_interpolation,
    frame_prediction,
    inpainting,
    outpainting,
)

REGIONS: dict[str, Region] = {
    "quarter_topleft": "quarter",
    "rectangle_horizontal": "horizontal",
    "rectangle_vertical": "vertical",
    "rectangle_central": "central",
    "dynamic_vertical": "dynamic_vertical",
    "dynamic_central": "dynamic_central",
}


def condition(name: str, video: torch.Tensor, latent_shape: Grid) -> Condition:
    task, *details = name.split("/")
    if task == "outpainting":
        return outpainting(video, latent_shape, REGIONS[details[0]], "edge" if "edge" in details else "constant")
    if task == "inpainting":
        return inpainting(video, latent_shape, REGIONS[details[0]])
    frames = int(re.findall(r"\d+", details[0])[0])
    if task == "frame_interpolation":
        return frame_interpolation(video, latent_shape, frames)
    shown = frame_prediction(video, latent_shape, frames)
    if task == "frame_prediction":
        return shown
    assert task == "frame_prediction_prefix"
    masks = (given_in_grid(mask, "prefix") for mask in (shown.cond_mask, shown.cond_token_mask))
    return Condition(shown.cond_video, *masks)


def compare_masks(ref: Reference, name: str, ours: Condition) -> None:
    ref.exact(f"{name}/video_mask", ours.cond_mask.movedim(1, -1), broadcast=True)
    ref.exact(f"{name}/latent_mask", ours.cond_token_mask, broadcast=True)


def test_conditions(reference: References) -> None:
    ref = reference("g_cond.npz")
    video = ref.tensor("input").movedim(-1, 1)
    for key in ref.keys("*/video"):
        name = key.removesuffix("/video")
        if name.startswith("latent_frame_prediction"):
            continue
        ours = condition(name, video, (4, 4, 4))
        ref.compare(key, ours.cond_video.movedim(1, -1), atol=1e-6)
        compare_masks(ref, name, ours)


def test_masks_at_real_sizes(reference: References) -> None:
    ref = reference("g_cond.npz")
    for key in ref.keys("true_size_*/video_mask"):
        name = key.removesuffix("/video_mask")
        size = int(name.split("/")[0].removeprefix("true_size_"))
        ours = condition(name.split("/", 1)[1], torch.zeros(1, 3, 16, size, size), (4, 16, 16))
        compare_masks(ref, name, ours)
