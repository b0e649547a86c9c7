"""Train a packaged video network of a drawn world, behind `synthetic_fd` (shapes) or `pushing_fd` (pushing).

    OMP_NUM_THREADS=1 python examples/train_synthetic_features.py shapes src/magvit/models/synthetic-features
    OMP_NUM_THREADS=1 python examples/train_synthetic_features.py pushing src/magvit/models/synthetic-features

Of clips of an unseen seed the packaged weights tell right, for shapes (2026-11-23; 20 minutes on one core of a busy
machine): 100 % at 16x32x32, 16x64x64 and 16x128x128, 99.9 % at 12x48x64 and 8x24x24, 99.7 % at 4x24x24; for pushing
(2026-11-26; 31 minutes on a quarter of a core): 99.5 % at 16x64x64, 99.6 % at 16x128x128.
"""

import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F
import tyro
from torch import Tensor, nn

from magvit import storage
from magvit.metrics.synthetic import SyntheticFeatures, WorldName
from magvit.seeds import generator_for
from magvit.shapes import Grid
from magvit.synthetic import SYNTHETIC, PushingArm
from magvit.synthetic.drawing import pick, uniform

Batch = tuple[Tensor, Tensor, Tensor | None]
"""Clips, classes, and the way of what is to be found, where that is told."""

STEPS: dict[WorldName, int] = {"shapes": 2400, "pushing": 3000}
BATCH = 32
LEARNING_RATE = 2e-3
SEED, UNSEEN = 1, 2
POOL = 6144
"""Clips of `pushing` that are drawn, and kept as bytes (1.2 GB), for each is seen in eight symmetries."""

TEST_SHAPES: dict[WorldName, tuple[Grid, ...]] = {
    "shapes": ((16, 32, 32), (16, 64, 64), (8, 24, 24), (4, 24, 24), (16, 128, 128), (12, 48, 64)),
    "pushing": ((16, 64, 64), (16, 128, 128)),
}


def shapes_batch(step: int) -> Batch:
    """Clips of one random shape, two of each class, some of them blurred or noisy."""
    generator = generator_for(SEED, step, 0)
    height, width = (int(24 * (128 / 24) ** uniform(generator, 0.0, 1.0, 1)) for _ in range(2))
    if pick(generator, 4):
        width = height
    clips = SYNTHETIC["shapes"]((4 + pick(generator, 13), height, width), SEED)
    items = [clips[index] for index in range(step * BATCH, (step + 1) * BATCH)]
    video = torch.stack([item["video"] for item in items])
    if pick(generator, 2):
        sigma = float(uniform(generator, 0.0, 0.03, 1)) * min(height, width)  # up to 1 pixel of 32
        video = blurred(video, max(sigma, 0.1))
    if pick(generator, 2):
        level = uniform(generator, 0.0, 0.1, BATCH, 1, 1, 1, 1)
        video = (video + level * torch.randn(video.shape, generator=generator)).clamp(0, 1)
    return video, torch.tensor([item["label"] for item in items]), None


@lru_cache(maxsize=POOL)
def drawn(index: int) -> tuple[Tensor, Tensor]:
    """The bytes of a pushing clip to train on, and the way of the centre of what is pushed, `T 2`."""
    scene = PushingArm((16, 64, 64), SEED).scene(index)
    return scene.render().mul(255).round().byte(), scene.objects[-1].centre


def pushing_batch(step: int) -> Batch:
    """Clips of the pool, turned, mirrored, of other colours and brightness, most of them worn."""
    generator = generator_for(SEED, step, 0)
    indices = [index % POOL for index in range(step * 16, (step + 1) * 16)]
    turned = [symmetry(*drawn(index), index % 16, generator) for index in indices]
    video = torch.stack([clip for clip, _, _ in turned]).float() / 255
    size = len(video), 1, 1, 1, 1
    middle = video.mean((2, 3, 4), keepdim=True)
    contrast, light = uniform(generator, 0.7, 1.2, *size), uniform(generator, -0.1, 0.1, *size)
    video = (middle + (video - middle) * contrast + light).clamp(0, 1)
    if pick(generator, 2):
        video = crumbled(video, uniform(generator, 0.0, 0.8, *size), generator)
    if pick(generator, 2):
        video = blurred(video, float(uniform(generator, 0.2, 1.5, 1)))
    if pick(generator, 2):
        level = uniform(generator, 0.0, 0.06, *size)
        video = (video + level * torch.randn(video.shape, generator=generator)).clamp(0, 1)
    ways = torch.stack([way for _, way, _ in turned])
    return video, torch.tensor([label for _, _, label in turned]), ways


def symmetry(clip: Tensor, way: Tensor, label: int, generator: torch.Generator) -> tuple[Tensor, Tensor, int]:
    """A clip mirrored, transposed and with its colours in another order; its way and class then. The shape stays."""
    clip = clip[torch.randperm(3, generator=generator)]
    for axis, directions, signs in ((3, (0, 1), (-1.0, 1.0)), (2, (2, 3), (1.0, -1.0))):
        if pick(generator, 2):  # right becomes left, down up: their numbers are neighbours
            clip, way, label = clip.flip(axis), way * torch.tensor(signs), label ^ (label % 4 in directions)
    return (clip.transpose(2, 3), way.flip(1), label ^ 2) if pick(generator, 2) else (clip, way, label)


def crumbled(video: Tensor, share: Tensor, generator: torch.Generator) -> Tensor:
    """Towards the means of blocks of 8x4x4 pixels, each of which is a little wrong, as by a coarse tokenizer."""
    blocks = F.avg_pool3d(video, (8, 4, 4))
    blocks = blocks + 0.05 * torch.randn(blocks.shape, generator=generator)
    return video + share * (F.interpolate(blocks, size=video.shape[2:], mode="nearest") - video)


def blurred(video: Tensor, sigma: float) -> Tensor:
    """Every frame under a Gaussian of `sigma` pixels, edges repeated."""
    rows, columns = (_blur_of_a_line(size, sigma) for size in video.shape[3:])
    return rows.T @ video @ columns


def _blur_of_a_line(size: int, sigma: float) -> Tensor:
    """A matrix: what becomes of each of the pixels, a row each."""
    reach = round(3 * sigma) + 1
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    points = F.pad(torch.eye(size)[:, None], (reach, reach), mode="replicate")
    return F.conv1d(points, (kernel / kernel.sum())[None, None])[:, 0]


BATCHES: dict[WorldName, Callable[[int], Batch]] = {"shapes": shapes_batch, "pushing": pushing_batch}


def train(world: WorldName, steps: int, begin: Path | None = None) -> SyntheticFeatures:
    """The network after some steps, from weights in a file or from none."""
    torch.manual_seed(SEED)
    network = SyntheticFeatures(world)
    if begin:
        network.load_state_dict(storage.load_tensors(begin))
    finder = nn.Conv3d(network.motion[-1][0].out_channels, len(network.classes) + 1, 1)
    optimizer = torch.optim.AdamW([*network.parameters(), *finder.parameters()], LEARNING_RATE, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, steps, pct_start=0.1)
    clock, correct = time.perf_counter(), 0.0
    for step in range(steps):
        video, label, way = BATCHES[world](step)
        with torch.autocast("cpu", torch.bfloat16, enabled=way is not None):
            texture, motion = (part.float() for part in network.maps(video))
        logits = network.classifier(network.pooled(texture, motion))
        loss = F.cross_entropy(logits, label)
        if way is not None:
            loss = loss + where(finder(motion), label, way)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        correct += (logits.argmax(1) == label).float().mean().item()
        if (step + 1) % 50 == 0:
            print(f"step {step + 1}: accuracy {correct / 50:.3f}, {time.perf_counter() - clock:.0f} s", flush=True)
            correct = 0.0
    return network


def where(logits: Tensor, label: Tensor, way: Tensor) -> Tensor:
    """A loss that says where what is pushed is at each time, in training only: else nothing is learnt for long.

    Args:
        logits: `B 17 t h w`, of the 16 classes and of none of them.
        label, way: class, and place in [-1, 1] at each frame.
    """
    clips, _, frames, height, width = logits.shape
    place = ((way.unflatten(1, (frames, -1)).mean(2) + 1) / 2).clamp(0, 0.999)
    column, row = (place * torch.tensor([width, height])).long().unbind(-1)
    target = torch.full((clips, frames, height, width), 16)
    target[torch.arange(clips)[:, None], torch.arange(frames), row, column] = label[:, None]
    return F.cross_entropy(logits, target, torch.tensor([1.0] * 16 + [0.1]))


@torch.no_grad()
def accuracy(world: WorldName, network: SyntheticFeatures, clip_shape: Grid, count: int = 1600) -> float:
    """On clips of another seed, as they are."""
    clips = SYNTHETIC[world](clip_shape, UNSEEN)
    correct = 0
    for start in range(0, count, 64):
        items = [clips[index] for index in range(start, min(start + 64, count))]
        found = network(torch.stack([item["video"] for item in items])).argmax(1)
        correct += int((found == torch.tensor([item["label"] for item in items])).sum())
    return correct / count


@torch.no_grad()
def standardize(world: WorldName, network: SyntheticFeatures, count: int) -> None:
    """Give the features unit variance over clips of the network's size; the logits stay."""
    clips = SYNTHETIC[world](network.clip_shape, SEED)
    features = [network.features(clips[index]["video"][None]) for index in range(count)]
    spread = torch.cat(features).std(dim=0)
    network.spread *= spread
    network.classifier.weight *= spread


def main(world: WorldName, folder: Path, /, steps: int | None = None, begin: Path | None = None) -> None:
    """Train, write the weights and measure them.

    Args:
        world: whose network.
        folder: where its weights go, as WORLD.safetensors.
        steps: fewer than it takes, for a trial.
        begin: a file of weights to go on from.
    """
    network = train(world, steps or STEPS[world], begin)
    standardize(world, network, 64 if steps else 512)
    state = {name: value.half() for name, value in network.state_dict().items()}
    storage.save_tensors(folder / f"{world}.safetensors", state)
    network.load_state_dict(state)  # as it was rounded
    for clip_shape in TEST_SHAPES[world][: 1 if steps else None]:
        print(clip_shape, f"{accuracy(world, network, clip_shape, 64 if steps else 1600):.4f}")


if __name__ == "__main__":
    tyro.cli(main)
