"""What is evaluated: a model that generates or reconstructs, or the clips of a folder."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, TypedDict

import torch
from torch import Tensor

from magvit.data.clip_set import ClipSet
from magvit.decoding import Decoding
from magvit.evaluation.baselines import BASELINES, fill
from magvit.evaluation.networks import weights_hash
from magvit.evaluation.protocols import Protocol
from magvit.evaluation.samples import fingerprint
from magvit.pipeline import MagvitPipeline
from magvit.seeds import generator_for
from magvit.shapes import Tokens, Video
from magvit.tasks import Task, get_task


class Batch(TypedDict):
    """Real clips, their classes, the numbers of their videos, and for two folders the other one's clips. Where no clip
    is looked at there are only the classes.
    """

    video: Video
    label: Tensor
    index: Tensor
    fake: Video


class Sampled(NamedTuple):
    """Clips to be judged, and what they were decoded from."""

    video: Video
    tokens: Tokens | None = None


Sampler = Callable[[Batch, list[int]], Sampled]
"""Clips for a batch of real ones, with a seed for each."""


@dataclass(frozen=True)
class Subject:
    """What is evaluated.

    Attributes:
        samplers: by task.
        made_of: what its clips depend on, for the record.
        codebook_size: of its tokenizer, or 0.
        clips: for two folders, those of the other one.
        condition_frames: that its frame tasks show; None where it has none.
        blind: the tasks whose samplers look at no clip: they are given labels alone.
    """

    samplers: dict[str, Sampler]
    made_of: dict[str, Any]
    codebook_size: int = 0
    clips: ClipSet | None = None
    condition_frames: int | None = None
    blind: tuple[str, ...] = ()


def of_pipeline(pipe: MagvitPipeline, protocol: Protocol, classes: list[str], name: str = "") -> Subject:
    """A model, called `name`, that generates or reconstructs; `classes` are the data's, found among its own by name.

    Raises:
        ValueError: the model cannot do what the protocol asks for.
    """
    model, generates = pipe.config, protocol.subject == "generation"
    frame_by_frame = not generates and model.tokenizer.dims == 2  # which does clips of any number of frames
    shape = protocol.clip_shape or model.clip_shape
    if shape[1:] != model.clip_shape[1:] or (shape[0] != model.clip_shape[0] and not frame_by_frame):
        raise ValueError(f"the model's clip_shape is {model.clip_shape}, {protocol.name} needs {protocol.clip_shape}")
    by_frames = any("frame" in task for task in protocol.tasks)
    if by_frames and protocol.condition_frames not in (None, model.condition_frames):
        needed = f"{protocol.name} needs {protocol.condition_frames}"
        raise ValueError(f"the model's condition_frames is {model.condition_frames}, {needed}")
    networks = {name: network for name in ("tokenizer", "transformer") if (network := getattr(pipe, name)) is not None}
    if protocol.subject == "reconstruction":
        networks.pop("transformer", None)

        def reconstruct(batch: Batch, seeds: list[int]) -> Sampled:
            with torch.inference_mode(), pipe.autocast():
                tokens = pipe.tokenizer.encode(batch["video"].to(pipe.device))
                return Sampled(pipe.tokenizer.decode(tokens).float(), tokens)

        samplers: dict[str, Sampler] = {"reconstruction": reconstruct}
    else:
        samplers = {task: _generator(pipe, task, protocol, classes) for task in protocol.tasks}
    hashes = {name: weights_hash(network) for name, network in networks.items()}
    config = hashlib.sha256(json.dumps(pipe.config.to_dict()).encode()).hexdigest()
    made_of: dict[str, Any] = {"name": name, **hashes, "config": config, "precision": pipe.precision}
    if generates:
        made_of["decoding"] = {task: asdict(_decoding(pipe, task, protocol)) for task in protocol.tasks}
    blind = tuple(task for task in protocol.tasks if not get_task(task).needs_video)
    size, frames = model.tokenizer.codebook_size, model.condition_frames
    return Subject(samplers, made_of, size, condition_frames=frames, blind=blind)


def _decoding(pipe: MagvitPipeline, task: str, protocol: Protocol) -> Decoding:
    """The protocol's or the model's own, with the changes asked for. ValueError where the model cannot follow it."""
    chosen = get_task(task)
    decoding = pipe.decoding(task)
    if protocol.decoding is not None:
        decoding = pipe.config.generator_for(chosen).following(chosen, protocol.decoding)
    decoding = decoding.changed(**protocol.decoding_changes)
    pipe.config.check(chosen, decoding)
    return decoding


def _generator(pipe: MagvitPipeline, name: str, protocol: Protocol, classes: list[str]) -> Sampler:
    task, numbers = get_task(name), {word: number for number, word in enumerate(pipe.config.classes)}
    decoding = _decoding(pipe, name, protocol)
    if task.class_conditional and not classes:
        raise ValueError(f"{name} needs the classes of the real clips, and the data has none")
    if task.class_conditional and (unknown := [word for word in classes if word not in numbers]):
        raise ValueError(f"{name} needs the model's classes, and the data has {unknown[0]!r}, which is none of them")

    def generate(batch: Batch, seeds: list[int]) -> Sampled:
        labels = None
        if task.class_conditional:
            given = batch["label"].tolist()
            if min(given) < 0:
                raise ValueError(f"{name} needs a class for every real clip, and some have none")
            labels = [numbers[classes[label]] for label in given]
        made = pipe(
            name,
            batch["video"] if task.needs_video else None,
            labels,
            seed=seeds,
            decoding=decoding,
            batch_size=len(seeds),
        )
        return Sampled(made.video.float(), made.tokens)

    return generate


def of_baseline(name: str, protocol: Protocol, clips: ClipSet) -> Subject:
    """One of `magvit.evaluation.baselines`, of the clip shape of `clips`, in whose frames no tokens are thought of.

    Raises:
        ValueError: there is no such baseline, the protocol is not one of generation, or there is no other clip.
    """
    if name not in BASELINES:
        raise ValueError(f"unknown baseline {name!r}, expected one of {', '.join(BASELINES)}")
    if protocol.subject != "generation":
        raise ValueError(f"protocol {protocol.name} is of {protocol.subject}, a baseline wants one of generation")
    if name == "train" and len(clips) < 2:
        raise ValueError(f"{clips.folder} has {len(clips)} videos, baseline train needs at least 2")
    frames = protocol.condition_frames or 1

    def other(own: int, seed: int) -> Tensor:
        generator, number = generator_for(seed), own
        while number == own:
            number = int(torch.randint(len(clips), (), generator=generator))
        return clips.take(number)[0]["video"]

    def sampler(task: Task) -> Sampler:
        def sample(batch: Batch, seeds: list[int]) -> Sampled:
            video = batch["video"]
            if name != "train":
                return Sampled(fill(name, task.condition(video, clips.clip_shape, frames)))
            drawn = [other(own, seed) for own, seed in zip(batch["index"].tolist(), seeds, strict=True)]
            return Sampled(torch.stack(drawn).to(video.device))

        return sample

    samplers = {task: sampler(get_task(task)) for task in protocol.tasks}
    return Subject(samplers, {"baseline": name, "frames": frames}, condition_frames=frames)


def of_folder(clips: ClipSet) -> Subject:
    """The clips of another folder, taken as the protocol takes the real ones."""
    made_of = {"folder": clips.folder, "sha256": fingerprint(clips)}
    return Subject({"folder": lambda batch, seeds: Sampled(batch["fake"])}, made_of, clips=clips)
