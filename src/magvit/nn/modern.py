"""A transformer layer as they are built since BERT: what small models learn fastest with.

Norms come before attention and MLP and only scale (RMS); queries and keys are normed; positions are rotations by the
place in the grid; the MLP is gated; nothing has a bias, and what a layer adds starts at zero.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from magvit.nn.attention import Dropout, attend
from magvit.shapes import Grid

BASE = 100.0
"""The slowest rotation of an axis turns about this many times slower than one radian a step."""


def rotations(grid: Grid, num_prefix: int, size: int) -> Float[Tensor, "2 L d"]:
    """Cosines, and sines with their signs, of `num_prefix` positions outside the grid, then of the grid's, row-major.

    The `size / 2` planes of a head are shared out among time, height and width; a plane, the numbers i and i + size/2,
    turns with one of them.
    """
    planes = size // 2
    counts = [planes - 2 * (planes // 3), planes // 3, planes // 3]
    axes = torch.meshgrid(*(torch.arange(float(length), device="cpu") for length in grid), indexing="ij")
    angles = [
        axis.flatten()[:, None] * BASE ** -(torch.arange(count, device="cpu") / count)
        for axis, count in zip(axes, counts, strict=True)
    ]
    inside = torch.cat(angles, 1)
    outside = torch.cat([-(BASE ** -(torch.arange(count, device="cpu") / count)) for count in counts]).expand(
        num_prefix, planes
    )
    angle = torch.cat((outside, inside))
    cos, sin = angle.cos(), angle.sin()
    return torch.stack((torch.cat((cos, cos), 1), torch.cat((-sin, sin), 1)))


def rotate(x: Float[Tensor, "B L n heads d"], table: Float[Tensor, "2 L d"]) -> Float[Tensor, "B L n heads d"]:
    """Turn the pairs (i, i + d/2) of every position by its angles."""
    cos, sin = table[:, :, None, None].to(x.dtype)
    return x * cos + x.roll(x.shape[-1] // 2, -1) * sin


class ModernLayer(nn.Module):
    """`h = x + attention(norm(x))`, `out = h + mlp(norm(h))`, over a grid of positions behind `num_prefix` others."""

    table: Tensor

    def __init__(self, hidden_size: int, num_heads: int, mlp_size: int, dropout: float, grid: Grid, num_prefix: int):
        super().__init__()
        self.num_heads, self.dropout = num_heads, Dropout(dropout)
        self.attention_norm, self.mlp_norm = nn.RMSNorm(hidden_size), nn.RMSNorm(hidden_size)
        self.qkv = nn.Linear(hidden_size, 3 * hidden_size, bias=False)
        self.attention_out = nn.Linear(hidden_size, hidden_size, bias=False)
        self.mlp_in = nn.Linear(hidden_size, 2 * mlp_size, bias=False)
        self.mlp_out = nn.Linear(mlp_size, hidden_size, bias=False)
        self.register_buffer("table", rotations(grid, num_prefix, hidden_size // num_heads), persistent=False)

    def start_at_zero(self) -> None:
        """Let the layer add nothing."""
        nn.init.zeros_(self.attention_out.weight)
        nn.init.zeros_(self.mlp_out.weight)

    def forward(
        self, x: Float[Tensor, "B L hidden"], visible: Bool[Tensor, "B 1 1 L"] | None = None
    ) -> Float[Tensor, "B L hidden"]:
        """Apply the layer; every position sees every position, or all that are `visible`."""
        x = x + self.dropout(self.attend(self.attention_norm(x), visible))
        gate, value = self.mlp_in(self.mlp_norm(x)).chunk(2, -1)
        return x + self.dropout(self.mlp_out(F.silu(gate) * value))

    def attend(
        self, x: Float[Tensor, "B L hidden"], visible: Bool[Tensor, "B 1 1 L"] | None
    ) -> Float[Tensor, "B L hidden"]:
        """Self-attention whose queries and keys have unit root mean square before they are turned."""
        batch, length, hidden = x.shape
        qkv = self.qkv(x).view(batch, length, 3, self.num_heads, hidden // self.num_heads)
        turned = rotate(F.rms_norm(qkv[:, :, :2], qkv.shape[-1:]).to(qkv.dtype), self.table[:, -length:])
        query, key, value = (part.transpose(1, 2) for part in (*turned.unbind(2), qkv[:, :, 2]))  # each B heads L d
        x = attend(query, key, value, visible)
        return self.attention_out(x.transpose(1, 2).reshape(batch, length, hidden))
