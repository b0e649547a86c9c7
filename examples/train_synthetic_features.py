"""Train the packaged video network behind `synthetic-fd`.

    OMP_NUM_THREADS=1 python examples/train_synthetic_features.py src/magvit/models/synthetic-features

A second argument is a number of steps, for a trial. All of them took 20 minutes on one core of a busy machine. Of
clips of an unseen seed the packaged weights, of 2026-11-23, tell 100 % right at 16x32x32, 16x64x64 and 16x128x128,
99.9 % at 12x48x64 and 8x24x24, and 99.7 % at 4x24x24.
"""

import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from magvit import storage
from magvit.metrics.synthetic import NAME, SyntheticFeatures
from magvit.seeds import generator_for
from magvit.shapes import Grid
from magvit.synthetic import MovingShapes
from magvit.synthetic.drawing import pick, uniform

STEPS, BATCH = 2400, 32
LEARNING_RATE = 2e-3
SEED, UNSEEN = 1, 2
TEST_SHAPES: tuple[Grid, ...] = ((16, 32, 32), (16, 64, 64), (8, 24, 24), (4, 24, 24), (16, 128, 128), (12, 48, 64))


def batch(step: int) -> tuple[Tensor, Tensor]:
    """Clips of one random shape, two of each class, some of them blurred or noisy, and their labels."""
    generator = generator_for(SEED, step, 0)
    height, width = (int(24 * (128 / 24) ** uniform(generator, 0.0, 1.0, 1)) for _ in range(2))
    if pick(generator, 4):
        width = height
    clips = MovingShapes((4 + pick(generator, 13), height, width), SEED)
    items = [clips[index] for index in range(step * BATCH, (step + 1) * BATCH)]
    video = torch.stack([item["video"] for item in items])
    if pick(generator, 2):
        sigma = float(uniform(generator, 0.0, 0.03, 1)) * min(height, width)  # up to 1 pixel of 32
        video = blurred(video, max(sigma, 0.1))
    if pick(generator, 2):
        level = uniform(generator, 0.0, 0.1, BATCH, 1, 1, 1, 1)
        video = (video + level * torch.randn(video.shape, generator=generator)).clamp(0, 1)
    return video, torch.tensor([item["label"] for item in items])


def blurred(video: Tensor, sigma: float) -> Tensor:
    """Every frame under a Gaussian of `sigma` pixels, edges repeated."""
    reach = round(3 * sigma) + 1
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    kernel = (kernel / kernel.sum())[None, None]
    frames = F.pad(video.flatten(0, 2)[:, None], (reach, reach, reach, reach), mode="replicate")
    frames = F.conv2d(F.conv2d(frames, kernel[..., None]), kernel[:, :, None])
    return frames.view(video.shape)


def train(steps: int) -> SyntheticFeatures:
    """The network after some steps."""
    torch.manual_seed(SEED)
    network = SyntheticFeatures()
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, steps, pct_start=0.1)
    clock, correct = time.perf_counter(), 0.0
    for step in range(steps):
        video, label = batch(step)
        logits = network(video)
        optimizer.zero_grad()
        F.cross_entropy(logits, label).backward()
        optimizer.step()
        schedule.step()
        correct += (logits.argmax(1) == label).float().mean().item()
        if (step + 1) % 50 == 0:
            print(f"step {step + 1}: accuracy {correct / 50:.3f}, {time.perf_counter() - clock:.0f} s", flush=True)
            correct = 0.0
    return network


@torch.no_grad()
def accuracy(network: SyntheticFeatures, clip_shape: Grid, count: int = 1600) -> float:
    """On clips of another seed, as they are."""
    clips = MovingShapes(clip_shape, UNSEEN)
    correct = 0
    for start in range(0, count, 64):
        items = [clips[index] for index in range(start, min(start + 64, count))]
        found = network(torch.stack([item["video"] for item in items])).argmax(1)
        correct += int((found == torch.tensor([item["label"] for item in items])).sum())
    return correct / count


@torch.no_grad()
def standardize(network: SyntheticFeatures, count: int = 512) -> None:
    """Give the features unit variance over clips of 16x32x32 pixels; the logits stay."""
    clips = MovingShapes((16, 32, 32), SEED)
    features = [network.features(clips[index]["video"][None]) for index in range(count)]
    spread = torch.cat(features).std(dim=0)
    network.spread *= spread
    network.classifier.weight *= spread


def main(folder: str, steps: str = str(STEPS)) -> None:
    """Train, write the weights into `folder` and measure them."""
    network = train(int(steps))
    standardize(network)
    state = {name: value.half() for name, value in network.state_dict().items()}
    storage.save_tensors(Path(folder) / f"{NAME}.safetensors", state)
    network.load_state_dict(state)  # as it was rounded
    whole = int(steps) == STEPS
    for clip_shape in TEST_SHAPES if whole else TEST_SHAPES[:1]:
        print(clip_shape, f"{accuracy(network, clip_shape, 1600 if whole else 64):.4f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
