"""A robot arm of two links, seen from above: where its elbow is, and how it looks."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from magvit.synthetic.drawing import pixel_points

UPPER, FORE, ELBOW, TIP = 0.1, 0.075, 0.12, 0.09
"""Half widths of the two links, radii of the elbow and of the tip."""

METAL, JOINT, RUBBER = (0.82, 0.83, 0.85), (0.9, 0.55, 0.2), (0.22, 0.22, 0.26)
SHADOW = (0.07, 0.09)
"""How far the arm's shadow lies from the arm, in x and y."""


@dataclass(frozen=True)
class Arm:
    """An arm from a base, through an elbow, to a tip; its links are equally long."""

    base: Float[Tensor, "1 2"]
    elbow: Float[Tensor, "T 2"]
    tip: Float[Tensor, "T 2"]

    def draw(self, video: Float[Tensor, "3 T H W"]) -> Float[Tensor, "3 T H W"]:
        """The arm over the video: its shadow, links that are lit as cylinders, elbow and tip."""
        H, W = video.shape[-2:]
        side = min(H, W) / 2
        points = pixel_points(torch.eye(2)[None], torch.zeros(1, 2), H, W)
        upper, fore = capsule(points, self.base, self.elbow), capsule(points, self.elbow, self.tip)
        shifted = points - torch.tensor(SHADOW)
        below = torch.minimum(
            capsule(shifted, self.base, self.elbow) - UPPER, capsule(shifted, self.elbow, self.tip) - FORE
        )
        video = video * (1 - 0.35 * (0.5 - below / 0.1).clamp(0, 1))
        elbow, tip = capsule(points, self.elbow, self.elbow), capsule(points, self.tip, self.tip)
        parts = ((upper, UPPER, METAL), (fore, FORE, METAL), (elbow, ELBOW, JOINT), (tip, TIP, RUBBER))
        for distance, radius, colour in parts:
            opacity = (0.5 - (distance - radius) * side).clamp(0, 1)
            light = 1 - 0.4 * (distance / radius).clamp(0, 1) ** 2  # bright along the middle
            video = torch.addcmul(video * (1 - opacity), torch.tensor(colour).view(3, 1, 1, 1), light * opacity)
        return video


def reach(base: Float[Tensor, "1 2"], tip: Float[Tensor, "T 2"], away_from: Float[Tensor, "2"]) -> Float[Tensor, "T 2"]:
    """The elbow of an arm that just reaches the farthest of its tips, on the side that lies away from a point."""
    way = tip - base
    distance = way.norm(dim=1, keepdim=True).clamp(min=1e-3)
    link = 0.53 * distance.max()
    height = (link**2 - distance**2 / 4).sqrt() / distance
    middle, across = base + way / 2, torch.stack((-way[:, 1], way[:, 0]), 1) * height
    elbows = torch.stack((middle + across, middle - across))
    return elbows[int((elbows - away_from).norm(dim=-1).mean(1).argmax())]


def capsule(
    points: Float[Tensor, "#T H W 2"], start: Float[Tensor, "#T 2"], end: Float[Tensor, "T 2"]
) -> Float[Tensor, "T H W"]:
    """Distance of points to a segment, in each frame."""
    x, y = points[..., 0] - start[:, 0, None, None], points[..., 1] - start[:, 1, None, None]
    dx, dy = (end - start).T[:, :, None, None]
    along = ((x * dx + y * dy) / (dx**2 + dy**2).clamp(min=1e-9)).clamp(0, 1)
    return torch.hypot(x - along * dx, y - along * dy)
