"""MagvitPipeline: a model folder turned into something that generates, edits and reconstructs video.

A call is four steps, each a method that can be called alone or replaced in a subclass:

    prepare -> encode_condition -> generate_tokens -> decode_tokens

The pipeline joins the pieces and owns none of the mathematics: conditions come from `magvit.tasks`, tokens
from `magvit.generation`, the networks from `magvit.tokenizer`, `magvit.transformer` and `magvit.autoregressive`.
"""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

import numpy as np
import torch

from magvit.data.user_clips import VideoSource
from magvit.decoding import Decoding, DecodingStep
from magvit.generation import generate
from magvit.model import Model
from magvit.model_config import Label
from magvit.outputs import GenerationOutput, OutputType, check_output_type, delivered
from magvit.seeds import generator_for
from magvit.shapes import TokenMask, Tokens, Video
from magvit.tasks import Condition, Task, get_task

T = TypeVar("T")
Several = Sequence[Any] | np.ndarray | np.generic | torch.Tensor
"""Numbers of any library."""
StepEnd = Callable[[DecodingStep], bool | None]
CLIPS_AT_ONCE = 16
"""Clips that go through the networks together, unless somebody says otherwise."""
TOKENS_AT_ONCE = 2048
"""On a CPU as many clips as make so many tokens: memory of larger arrays is had from the system each time anew."""


class MagvitPipeline(Model):
    """A model that generates and edits clips; what it is made of, see `Model`."""

    @torch.inference_mode()
    def __call__(
        self,
        task: str,
        video: VideoSource | None = None,
        label: Label | Several | None = None,
        *,
        condition: Condition | None = None,
        decoding: Decoding | None = None,
        num_samples: int | np.integer = 1,
        first_sample: int = 0,
        batch_size: int | None = None,
        keep_given: bool = False,
        seed: int | Several | None = None,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        output_type: OutputType = "tensor",
        callback_on_step_end: StepEnd | None = None,
        **options: Any,
    ) -> GenerationOutput:
        """Generate or edit clips with one of the tasks (Algorithm 1).

        Args:
            task: a name or the paper's code: `frame_prediction`, `OPC`, ...; see `magvit.tasks.TASKS`.
            video: what to predict from or edit; see `prepare`. The generation tasks without a condition take none.
            label: class number or name, for the class-conditional tasks; or one for each clip.
            condition: in place of `video`, what is known of each clip by any rule, for example
                `magvit.tasks.conditions.masked`. The task then says only how the sequence begins.
            decoding: how tokens are drawn; without it as the model's config says for this task.
            num_samples: results for each clip.
            first_sample: the number of the first of them, so that many can be asked for in several calls.
            batch_size: results that are computed at once; without it `usual_batch_size`.
            keep_given: put the given pixels back over the result. The paper's numbers are without.
            seed: sample number j of each clip draws from a generator of its own, seeded with `(seed, j)`: its tokens do
                not depend on how many others are asked for. A sequence gives each clip a seed of its own. 0 by default.
            generator: in place of `seed`, what it is drawn from: one number a call, so the next call is another. A
                sequence, one for each clip, gives each a seed of its own.
            output_type: what `video` of the result is: `tensor`, `numpy` or `pil`; or a path that it is written to, see
                `magvit.outputs`.
            callback_on_step_end: called with what each decoding step read and made, a `DecodingStep`. If it returns
                False, tokens are as they are then predicted, no further batch is begun, and the result holds what was
                made until then. An autoregressive model has no such steps.
            **options: single fields of `Decoding` that are to be other than `decoding` says: `num_steps=8`, ...

        Raises:
            ValueError: an argument is not what was expected; one sentence, before any work.
            TypeError: there is no such option.
            OSError: the video file cannot be read, or the result not be written.
        """
        chosen = get_task(task)
        decoding = (decoding or self.decoding(task)).changed(**options)
        if video is not None and condition is not None:
            raise ValueError("a video and a condition are given, expected one of them")
        if seed is not None and generator is not None:
            raise ValueError("a seed and a generator are given, expected one of them")
        check_output_type(output_type, self.config.fps)
        labels, seeds, (samples,) = _list(label), _seeds(seed, generator), _list(num_samples)
        has_input = video is not None or condition is not None
        self.config.check_request(chosen, decoding, has_input, labels, samples, seeds)
        batch_size = self.usual_batch_size if batch_size is None else batch_size
        for name, value, least in (("first_sample", first_sample, 0), ("batch_size", batch_size, 1)):
            if value < least:
                raise ValueError(f"{name} is {value}, expected at least {least}")
        labels = [self.config.class_number(chosen, one) for one in labels]
        latent_shape = self.config.tokenizer.latent_shape(self.config.clip_shape)

        if condition is None:
            count = max(len(labels), len(seeds))
            clip = torch.zeros(count, 3, *self.config.clip_shape) if video is None else self.prepare(video, chosen)
            condition = chosen.condition(clip.to(self.device), latent_shape, self.config.condition_frames)
        self.config.check_condition(condition)
        count = len(condition.cond_video)
        labels, seeds = _for_each("labels", labels, count), _for_each("seeds", seeds, count)
        cond_video, cond_mask = condition.cond_video.to(self.device), condition.cond_mask.to(self.device)
        cond_tokens = torch.cat([self.encode_condition(part) for part in condition.split(batch_size)])
        settings = {
            **self.origin,
            "precision": self.precision,
            "task": chosen.name,
            **({"input": os.fspath(video)} if isinstance(video, str | os.PathLike) else {}),
            "decoding": asdict(decoding),
            "keep_given": keep_given,
        }
        stopped: dict[str, int] = {}

        def step_end(step: DecodingStep) -> bool:
            if callback_on_step_end is not None and callback_on_step_end(step) is False:
                stopped["stopped_after"] = step.step + 1
            return not stopped

        asked = [(row, first_sample + number) for row in range(count) for number in range(samples)]
        tokens, videos, metadata = [], [], []
        for batch in (asked[start : start + batch_size] for start in range(0, len(asked), batch_size)):
            rows = [row for row, _ in batch]
            given = cond_tokens[rows], condition.cond_token_mask[rows].to(self.device)
            generators = [generator_for(seeds[row], number) for row, number in batch]
            told = [labels[row] for row in rows]
            tokens.append(self.generate_tokens(chosen, *given, told, decoding, generators, step_end))
            made = self.decode_tokens(tokens[-1])
            videos.append(torch.where(cond_mask[rows], cond_video[rows], made) if keep_given else made)
            for row, number in batch:
                own = {"clip": row, "label": labels[row], "seed": seeds[row], "sample": number}
                metadata.append(settings | own | stopped)
            if stopped:
                break
        given_to = cond_video[[one["clip"] for one in metadata]]
        result = GenerationOutput(torch.cat(videos), torch.cat(tokens), given_to, metadata)
        return delivered(result, output_type, self.config.fps)

    def decoding(self, task: str, **options: Any) -> Decoding:
        """How this model decodes a task, with some options of `Decoding` changed; those that are None stay.

        Raises:
            ValueError: there is no such task, the model holds a tokenizer only, or an option is out of range.
            TypeError: there is no such option.
        """
        return self.config.decoding(get_task(task), **options)

    @property
    def usual_batch_size(self) -> int:
        """How many clips go through the networks together, unless somebody says otherwise."""
        if self.device.type != "cpu":
            return CLIPS_AT_ONCE
        tokens = math.prod(self.config.tokenizer.latent_shape(self.config.clip_shape))
        return max(1, min(CLIPS_AT_ONCE, TOKENS_AT_ONCE // tokens))

    # --- The four steps ----------------------------------------------------------------------------------------------

    def prepare(self, video: VideoSource, task: Task | None = None) -> Video:
        """The first `T` frames at the model's size, on its device, fitted by the one rule of `fit_clip`.

        Args:
            video: see `magvit.data.user_clips`.
            task: what it is for; a picture will do to predict frames from one.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is no video, has fewer than `T` frames, or the pixels have other values or axes.
        """
        return self.config.clips(video, task).to(self.device)

    @torch.inference_mode()
    def encode_condition(self, condition: Condition) -> Tokens:
        """Tokens of the condition video; all 0, without any work, where nothing is given."""
        if not condition.cond_token_mask.any():
            return torch.zeros(condition.cond_token_mask.shape, dtype=torch.long, device=self.device)
        with self.autocast():
            return self.tokenizer.encode(condition.cond_video.to(self.device))

    @torch.inference_mode()
    def generate_tokens(
        self,
        task: Task,
        cond_tokens: Tokens,
        cond_token_mask: TokenMask,
        labels: Sequence[int | None],
        decoding: Decoding,
        generators: Sequence[torch.Generator],
        callback: StepEnd | None = None,
    ) -> Tokens:
        """A grid of tokens for each condition and label (None: the unconditional class), drawn by its own generator."""
        assert self.transformer is not None
        with self.autocast():
            return generate(
                self.config.generator_for(task),
                self.transformer,
                task,
                labels,
                cond_tokens,
                cond_token_mask,
                decoding,
                generators,
                callback,
            )

    @torch.inference_mode()
    def decode_tokens(self, tokens: Tokens) -> Video:
        """The pixels of tokens, in [0, 1]."""
        with self.autocast():
            return self.tokenizer.decode(tokens)

    @torch.inference_mode()
    def reconstruct(self, video: VideoSource) -> Video:
        """A clip through the tokenizer and back: `B C T H W` in [0, 1]. Input and errors as in `prepare`."""
        clip = self.prepare(video)
        with self.autocast():
            return torch.cat([self.tokenizer.reconstruct(part) for part in clip.split(self.usual_batch_size)])


def _list(value: Any) -> list[Any]:
    """One value or several as a list, those of arrays and tensors as Python's own."""
    value = value.tolist() if hasattr(value, "tolist") else value
    values = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    return [one.item() if hasattr(one, "item") else one for one in values]


def _seeds(seed: Any, generator: Any) -> list[Any]:
    """The seeds that are given, or one drawn from each generator."""
    if generator is None:
        return _list(0 if seed is None else seed)
    each = list(generator) if isinstance(generator, list | tuple) else [generator]
    if wrong := [one for one in each if not isinstance(one, torch.Generator)]:
        raise ValueError(f"generator is {wrong[0]!r}, expected a torch.Generator, or one for each clip")
    return [int(torch.randint(2**32, (), generator=one, device=one.device)) for one in each]


def _for_each(what: str, values: list[T], count: int) -> list[T]:
    """A value for each of `count` clips: one for all, or as many."""
    if len(values) not in (1, count):
        raise ValueError(f"there are {len(values)} {what} for {count} clips, expected one for each or one for all")
    return values if len(values) == count else values * count
