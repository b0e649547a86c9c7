"""The real clips of an evaluation: which clip is number i, whatever the order they are computed in."""

import hashlib
import json
import os
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from magvit.data.clip_set import Choice, ClipSet, random_choice
from magvit.data.datasets import ClipFolder, EndlessSampler
from magvit.data.sampling import ClipIdentity, center_place, even_clips, even_places
from magvit.data.shards import ShardClips
from magvit.evaluation.protocols import Protocol
from magvit.seeds import generator_for
from magvit.shapes import Clip


class RealClips(Dataset[Clip]):
    """The `len` real clips of a repeat, by the rule of a protocol.

    Attributes:
        of_sample: the number of the clip that belongs to each sample.
    """

    def __init__(self, clips: ClipSet, protocol: Protocol, seed: int, repeat: int = 0):
        self.clips, self.rule, self.seed = clips, protocol.real, seed
        self.each = self.rule.per_video * self.rule.crops
        videos = len(clips)
        if self.rule.rule == "random":
            among = min(self.rule.first_videos or videos, videos)
            count = self.rule.count or protocol.num_samples or among
            self.draws = list(islice(EndlessSampler(among, seed, start=repeat * count), count))
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
        self.of_sample = [number % count for number in range(start, start + samples)]

    def _windows(self, protocol: Protocol, repeat: int) -> tuple[int, list[tuple[int, int]]]:
        """Some of all windows of all videos: (video, first frame) each."""
        lengths = map(self.clips.length, range(len(self.clips)))
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
        rule = self.rule
        if rule.rule == "random":
            epoch, video = self.draws[number]
            key = self.seed, epoch, video
            return self.clips.take(video, partial(random_choice, *key, crop=rule.random_crop, flip=rule.flip))
        if rule.rule == "windows":
            video, start = self.draws[number]
            return self.clips.take(video, lambda: Choice(lambda frames, span: start))
        video, part = divmod(number, self.each)
        if rule.rule == "first":
            return self.clips.take(video, lambda: Choice(lambda frames, span: 0))
        window, crop = divmod(part, rule.crops)

        def choose() -> Choice:
            return Choice(
                lambda frames, span: even_clips(frames, rule.per_video, span)[window],
                center_place if rule.crops == 1 else lambda picture, size: even_places(picture, size, rule.crops)[crop],
            )

        return self.clips.take(video, choose)


def fingerprint(clips: ClipSet) -> str:
    """SHA-256 of names, classes, and what tells contents apart without reading all: see `_content`."""
    digest = hashlib.sha256()
    for index in range(len(clips)):
        name = clips.classes[clips.label(index)] if clips.label(index) >= 0 else ""
        digest.update(json.dumps([clips.name(index), name, _content(clips, index)]).encode() + b"\n")
    return digest.hexdigest()


def _content(clips: ClipSet, index: int) -> Any:
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
