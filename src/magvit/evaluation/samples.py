"""The real clips of an evaluation: which clip is number i, whatever the order they are computed in."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from magvit.data.clip_set import Choice, ClipSet, random_choice
from magvit.data.datasets import ClipFolder, EndlessSampler
from magvit.data.identity import ClipIdentity
from magvit.data.loader import DataConfig, clips_of
from magvit.data.records import appearance
from magvit.data.sampling import center_place, even_clips, even_places
from magvit.data.shards import ShardClips
from magvit.data.workers import WatchedLoader
from magvit.evaluation.features import Work
from magvit.evaluation.protocols import Protocol, RealSet
from magvit.seeds import generator_for
from magvit.shapes import Clip, Grid


def set_of(real: RealSet, clip_shape: Grid, data: str) -> ClipSet:
    """The videos that the real clips are taken from; `data` as `clips_of` takes it."""
    options = {name: getattr(real, name) for name in ("stride", "target_fps", "resize", "split")}
    return clips_of(DataConfig(clip_shape, **options), data)


class RealClips(Dataset[Clip]):
    """The `len` real clips of a repeat, by the rule of a protocol.

    Args:
        clips: the videos.
        protocol: says which clips.
        seed: of random ones.
        repeat: which part of the evaluation.
        numbers: of the videos to use; None for all.

    Attributes:
        of_sample: the number of the clip that belongs to each sample.
    """

    def __init__(
        self,
        clips: ClipSet,
        protocol: Protocol,
        seed: int,
        repeat: int = 0,
        numbers: Sequence[int] | None = None,
    ):
        self.clips, self.rule, self.seed = clips, protocol.real, seed
        self.numbers = range(len(clips)) if numbers is None else numbers
        self.each = self.rule.per_video * self.rule.crops
        self.draws: list[tuple[int, int]] = []
        if self.rule.rule == "random" and self.rule.first_videos:
            self.numbers = sorted(self.numbers, key=clips.name)[: self.rule.first_videos]
        videos = len(self.numbers)
        if self.rule.rule == "random":
            count = self.rule.count or protocol.num_samples or videos
            endless = EndlessSampler(videos, seed, start=repeat * count)
            self.draws = [(video, epoch) for epoch, video in islice(endless, count)]
        elif self.rule.rule == "windows":
            count, self.draws = self._windows(protocol, repeat)
        else:
            count = self.rule.count or videos * self.each
            if count > videos * self.each:
                raise ValueError(
                    f"{clips.folder} has {videos} videos, which give {videos * self.each} real clips; {protocol.name} "
                    f"needs {count}"
                )
        self.count = count
        samples = protocol.num_samples or count
        start = 0 if self.rule.rule in ("random", "windows") else repeat * samples  # consecutive parts of one run
        order = torch.randperm(count, generator=generator_for(0)).tolist() if self.rule.shuffled else range(count)
        self.of_sample = [order[number % count] for number in range(start, start + samples)]

    def _windows(self, protocol: Protocol, repeat: int) -> tuple[int, list[tuple[int, int]]]:
        """Some of all windows of all videos: (video, first frame) each."""
        lengths = map(self.clips.length, self.numbers)
        room = [max(length.num_frames - self.clips.span(length.fps) + 1, 0) for length in lengths]
        ends = torch.tensor([-(-frames // self.rule.window_step) for frames in room]).cumsum(0)
        total = int(ends[-1])
        count = self.rule.count or protocol.num_samples or total
        if (repeat + 1) * count > total:
            wanted = f"{protocol.name} needs {(repeat + 1) * count}"
            raise ValueError(f"{self.clips.folder} has {total} windows {self.rule.window_step} apart, {wanted}")
        chosen = torch.randperm(total, generator=generator_for(self.seed))[repeat * count : (repeat + 1) * count]
        videos = torch.searchsorted(ends, chosen, right=True)
        starts = (
            chosen - (ends[videos] - ends.diff(prepend=torch.zeros(1, dtype=ends.dtype))[videos])
        ) * self.rule.window_step
        return count, list(zip(videos.tolist(), starts.tolist(), strict=True))

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Clip:
        return self.draw(number)[0]

    def draw(self, number: int) -> tuple[Clip, ClipIdentity]:
        """Clip and identity. A video that cannot be used stops the evaluation, which would be of other clips."""
        rule, (video, part) = self.rule, self._draw(number)
        if rule.rule == "random":
            key = self.seed, part, video
            return self._take(video, partial(random_choice, *key, crop=rule.random_crop, flip=rule.flip))
        if rule.rule == "windows":
            return self._take(video, lambda: Choice(lambda frames, span: part))
        if rule.rule == "first":
            return self._take(video, lambda: Choice(lambda frames, span: 0))
        window, crop = divmod(part, rule.crops)

        def choose() -> Choice:
            return Choice(
                lambda frames, span: even_clips(frames, rule.per_video, span)[window],
                center_place if rule.crops == 1 else lambda picture, size: even_places(picture, size, rule.crops)[crop],
            )

        return self._take(video, choose)

    def video(self, number: int) -> int:
        """The number, in the set, of the video that a clip is of."""
        return self.numbers[self._draw(number)[0]]

    def label(self, number: int) -> int:
        """The class number of a clip, or -1, which takes no reading."""
        return self.clips.label(self.video(number))

    def _draw(self, number: int) -> tuple[int, int]:
        """Video, among `numbers`, and which of its clips: the epoch of a random one, first frame of a window, part."""
        return self.draws[number] if self.draws else divmod(number, self.each)

    def _take(self, video: int, choose: Callable[[], Choice]) -> tuple[Clip, ClipIdentity]:
        return self.clips.take(self.numbers[video], choose)


class Items(Dataset[dict[str, Any]]):
    """Item i: the real clip of sample i, or without `videos` its label alone, and that of the other folder, if any;
    labels are numbers of `classes`.
    """

    def __init__(self, real: RealClips | None, fake: RealClips | None, classes: Sequence[str], videos: bool = True):
        self.videos = videos
        numbers = {name: number for number, name in enumerate(classes)}
        self.real, self.fake = real, fake
        self.labels = [numbers.get(name, -1) for name in fake.clips.classes] if fake else []

    def __getitem__(self, number: int) -> dict[str, Any]:
        item: dict[str, Any] = {}
        if self.real:
            clip = self.real.of_sample[number]
            item = dict(self.real[clip]) if self.videos else {"label": self.real.label(clip)}
        if self.fake:
            other = self.fake[self.fake.of_sample[number]]
            label = self.labels[other["label"]] if other["label"] >= 0 else -1
            item = {"label": label, **item, "fake": other["video"]}
        return item


def loaded(items: Dataset[Any], batches: list[list[int]], work: Work) -> Iterator[Any]:
    """Batches of items with these numbers, on the device of the work."""
    loader = WatchedLoader(items, batch_sampler=batches, num_workers=work.num_workers, generator=torch.Generator())
    for batch in loader:
        yield {name: value.to(work.device) if name != "label" else value for name, value in batch.items()}


def check_pairs(
    protocol: Protocol, reals: Sequence[RealClips], fakes: Sequence[RealClips], count: int, paired: str
) -> tuple[str, ...]:
    """What is to be noted of the clips of another folder, `count` in each repeat; `paired` names a metric of pairs.

    Raises:
        ValueError: there are too few, they are smaller than wanted, or they do not pair with the real ones.
    """
    real, fake, clips = reals[0], fakes[0], fakes[0].clips
    if count > len(fake):
        raise ValueError(f"{clips.folder} gives {len(fake)} clips, {count} are needed")
    unequal = not protocol.num_samples and len(fake) != len(real)
    if paired and (unequal or count > len(real.of_sample)):
        raise ValueError(f"{paired} needs pairs, and there are {len(real)} real clips and {len(fake)} others")
    if isinstance(clips, ClipFolder):
        looks, (_, height, width) = appearance(clips.root, clips.records[0]), clips.clip_shape
        if looks.height < height or looks.width < width:
            raise ValueError(
                f"{clips.path(0)} is {looks.height}x{looks.width}, smaller than the clips of {height}x{width}: "
                "give a smaller clip shape, or make these videos larger"
            )

    def names(side: Sequence[RealClips]) -> list[Path]:
        numbers = [(part.clips, part.video(number)) for part in side for number in part.of_sample]
        return [Path(clips.name(number)).with_suffix("") for clips, number in numbers]

    if paired and names(reals) != names(fakes):
        return (f"{paired} and other metrics of pairs took the clips in order: their names differ",)
    return ()


def fingerprint(clips: ClipSet, numbers: Sequence[int] | None = None) -> str:
    """SHA-256 of names, classes, and what tells contents apart without reading all: see `content`; of all videos, or
    of those with these numbers.
    """
    digest = hashlib.sha256()
    for index in range(len(clips)) if numbers is None else numbers:
        name = clips.classes[clips.label(index)] if clips.label(index) >= 0 else ""
        digest.update(json.dumps([clips.name(index), name, content(clips, index)]).encode() + b"\n")
    return digest.hexdigest()


def content(clips: ClipSet, index: int) -> Any:
    """Hash of a prepared record; size and checksum in a shard; of a plain file its size and a hash of both its ends."""
    if isinstance(clips, ShardClips):
        return clips.index.columns[index, [2, 5]].tolist()
    if not isinstance(clips, ClipFolder):
        return clips.seed
    record = clips.records[index]
    paths = [clips.root / path for path in record.images or (record.path,)]
    return [None, record.start, record.end, record.sha256 or [_ends(path) for path in paths]]


def _ends(path: Path, length: int = 2**16) -> list[Any]:
    with open(path, "rb") as file:
        head = file.read(length)
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - length, 0))
        return [size, hashlib.sha256(head + file.read()).hexdigest()]
