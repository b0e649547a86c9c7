"""MagvitPipeline: a model folder turned into something that generates, edits and reconstructs video.

A call is four steps, each a method that can be called alone or replaced in a subclass:

    prepare -> encode_condition -> generate_tokens -> decode_tokens

The pipeline joins the pieces and owns none of the mathematics: conditions come from `magvit.tasks`, tokens
from `magvit.generation`, the networks from `magvit.tokenizer`, `magvit.transformer` and `magvit.autoregressive`.
"""

import contextlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch

from magvit import hub
from magvit.data.user_clips import VideoSource
from magvit.decoding import Decoding, DecodingStep
from magvit.device import usable_device, usable_precision
from magvit.generation import Transformer, generate, make_transformer
from magvit.model_config import Label, MaskedGenerator, ModelConfig
from magvit.seeds import generator_for
from magvit.shapes import Grid, TokenMask, Tokens, Video
from magvit.tasks import Condition, Task, get_task, sequence_length
from magvit.tokenizer import VideoTokenizer

T = TypeVar("T")
Several = Sequence[Any] | np.ndarray | np.generic | torch.Tensor
"""Numbers of any library."""


class GenerationOutput(NamedTuple):
    """Results for `B = clips * num_samples`, the samples of one clip side by side.

    `video` and `cond_video` are pixels in [0, 1] at the model's clip shape, `tokens` what `video` was decoded from (but
    for given pixels that were kept).
    """

    video: Video
    tokens: Tokens
    cond_video: Video


class MagvitPipeline:
    """A tokenizer and, unless the folder holds only that, a transformer, on one device.

    Attributes:
        config: the model's `ModelConfig`.
        tokenizer: `VideoTokenizer`, in evaluation mode.
        transformer: `MaskedTransformer` or `AutoregressiveTransformer` in evaluation mode, or None.
        precision: `bfloat16` runs the networks under autocast; weights, distances and sampling stay float32.
    """

    def __init__(
        self,
        config: ModelConfig,
        tokenizer: VideoTokenizer,
        transformer: Transformer | None = None,
        precision: str | torch.dtype = "float32",
    ) -> None:
        if (transformer and transformer.config) != (config.generator and config.generator.transformer):
            raise ValueError("the config describes another transformer than the one that is given")
        self.config = config
        self.tokenizer = tokenizer.eval()
        self.transformer = None if transformer is None else transformer.eval()
        self.precision = usable_precision(precision)

    def __repr__(self) -> str:
        config, networks = self.config, {"tokenizer": self.tokenizer, "transformer": self.transformer}
        grid = "x".join(map(str, config.tokenizer.latent_shape(config.clip_shape)))
        clips = f"clips of {'x'.join(map(str, config.clip_shape))} at {config.fps:g} fps"
        sizes = [
            f"{name} of {sum(parameter.numel() for parameter in network.parameters()) / 1e6:.2f} million parameters"
            for name, network in networks.items()
            if network is not None
        ]
        learnt = config.generator.tasks if config.generator else ("no task, as there is no transformer",)
        learnt = learnt or ("tasks that its config does not tell",)
        return (
            f"{type(self).__name__} on {self.device} in {self.precision}\n"
            f"  {clips} as {grid} tokens of {config.tokenizer.codebook_size} codes\n"
            f"  {', '.join(sizes)}\n"
            f"  {', '.join(learnt)}; {len(config.classes)} classes"
        )

    @classmethod
    def from_pretrained(
        cls, name: str | Path, device: str | torch.device = "cpu", precision: str | torch.dtype = "float32"
    ) -> "MagvitPipeline":
        """Load a model folder: a local path, the name of a packaged model, or a hub id `user/name`.

        Raises:
            OSError: it is not there.
            ValueError: something in it is wrong, or the device or precision is unknown.
        """
        usable_precision(precision)
        where = usable_device(device)
        folder = hub.resolve(name)
        config = ModelConfig.load(folder)
        tokenizer = hub.load_network(lambda: VideoTokenizer(config.tokenizer), folder, "tokenizer")
        transformer, generator = None, config.generator
        if generator is not None:
            transformer = hub.load_network(lambda: make_transformer(generator), folder, "transformer")
        return cls(config, tokenizer, transformer, precision).to(where)

    def save_pretrained(self, folder: str | Path, dtype: torch.dtype = torch.float32) -> None:
        """Write a model folder that `from_pretrained` reads; `dtype=torch.bfloat16` halves its size.

        Raises:
            OSError: the folder cannot be written.
        """
        networks = {"tokenizer": self.tokenizer, "transformer": self.transformer}
        tensors = {name: network.state_dict() for name, network in networks.items() if network is not None}
        for state in tensors.values():
            state.update({key: tensor.to(dtype) for key, tensor in state.items() if tensor.is_floating_point()})
        hub.save_folder(folder, self.config.to_dict(), tensors)

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next(self.tokenizer.parameters()).device

    def to(
        self, device: str | torch.device | torch.dtype | None = None, dtype: torch.dtype | None = None
    ) -> "MagvitPipeline":
        """Move the networks, or change the precision that they work in; returns the pipeline."""
        dtype = device if isinstance(device, torch.dtype) else dtype
        self.precision = self.precision if dtype is None else usable_precision(dtype)
        where = self.device if isinstance(device, torch.dtype | None) else usable_device(device)
        self.tokenizer.to(where)
        if self.transformer is not None:
            self.transformer.to(where)
        return self

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
        batch_size: int = 16,
        keep_given: bool = False,
        seed: int | Several = 0,
        callback: Callable[[DecodingStep], None] | None = None,
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
            batch_size: results that are computed at once.
            keep_given: put the given pixels back over the result. The paper's numbers are without.
            seed: sample number j of each clip draws from a generator of its own, seeded with `(seed, j)`: its tokens do
                not depend on how many others are asked for. A sequence gives each clip a seed of its own.
            callback: called with the state of each decoding step, see `magvit.decoding.decode`.
            **options: single fields of `Decoding` that are to be other than `decoding` says: `num_steps=8`, ...

        Raises:
            ValueError: an argument is not what was expected; one sentence, before any work.
            TypeError: there is no such option.
            OSError: the video file cannot be read.
        """
        chosen = get_task(task)
        decoding = (decoding or self.decoding(task)).changed(**options)
        if video is not None and condition is not None:
            raise ValueError("a video and a condition are given, expected one of them")
        labels, seeds, (samples,) = _list(label), _list(seed), _list(num_samples)
        has_input = video is not None or condition is not None
        self.config.check_request(chosen, decoding, has_input, labels, samples, seeds)
        for name, value, least in (("first_sample", first_sample, 0), ("batch_size", batch_size, 1)):
            if value < least:
                raise ValueError(f"{name} is {value}, expected at least {least}")
        labels = [self.config.class_number(chosen, one) for one in labels]
        latent_shape = self.config.tokenizer.latent_shape(self.config.clip_shape)

        if condition is None:
            count = max(len(labels), len(seeds))
            clip = torch.zeros(count, 3, *self.config.clip_shape) if video is None else self.prepare(video, chosen)
            condition = chosen.condition(clip.to(self.device), latent_shape, self.config.condition_frames)
        self.check_condition(condition, latent_shape)
        count = len(condition.cond_video)
        labels, seeds = _for_each("labels", labels, count), _for_each("seeds", seeds, count)
        cond_video, cond_mask = condition.cond_video.to(self.device), condition.cond_mask.to(self.device)
        cond_tokens = self.encode_condition(condition)
        asked = [(row, first_sample + number) for row in range(count) for number in range(samples)]
        tokens, videos = [], []
        for batch in (asked[start : start + batch_size] for start in range(0, len(asked), batch_size)):
            rows = [row for row, _ in batch]
            given = cond_tokens[rows], condition.cond_token_mask[rows].to(self.device)
            generators = [generator_for(seeds[row], number) for row, number in batch]
            told = [labels[row] for row in rows]
            tokens.append(self.generate_tokens(chosen, *given, told, decoding, generators, callback))
            made = self.decode_tokens(tokens[-1])
            videos.append(torch.where(cond_mask[rows], cond_video[rows], made) if keep_given else made)
        return GenerationOutput(torch.cat(videos), torch.cat(tokens), cond_video.repeat_interleave(samples, 0))

    def decoding(self, task: str, **options: Any) -> Decoding:
        """How this model decodes a task, with some options of `Decoding` changed; those that are None stay.

        Raises:
            ValueError: there is no such task, the model holds a tokenizer only, or an option is out of range.
            TypeError: there is no such option.
        """
        return self.config.decoding(get_task(task), **options)

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
        callback: Callable[[DecodingStep], None] | None = None,
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
            return self.tokenizer.reconstruct(clip)

    def check_condition(self, condition: Condition, latent_shape: Grid) -> None:
        """ValueError for a condition of another shape, or one that shows more than the transformer can read."""
        found = tuple(condition.cond_video.shape[1:]), tuple(condition.cond_token_mask.shape[1:])
        expected = (3, *self.config.clip_shape), latent_shape
        if found != expected:
            raise ValueError(f"the condition's video and token mask have shapes {found}, expected {expected}")
        generator = self.config.generator
        if isinstance(generator, MaskedGenerator) and generator.mask_mode == "prefix":
            given = int(condition.cond_token_mask.flatten(1).sum(1).max())
            length = sequence_length(generator.vocabulary, math.prod(latent_shape), "prefix", given)
            if length > generator.transformer.max_length:
                takes = f"this transformer takes {generator.transformer.max_length}"
                raise ValueError(f"the condition gives {given} tokens, which makes sequences of {length}; {takes}")

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """What the networks run under: bfloat16 where that is this pipeline's precision."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16")


def _list(value: Any) -> list[Any]:
    """One value or several as a list, those of arrays and tensors as Python's own."""
    value = value.tolist() if hasattr(value, "tolist") else value
    values = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    return [one.item() if hasattr(one, "item") else one for one in values]


def _for_each(what: str, values: list[T], count: int) -> list[T]:
    """A value for each of `count` clips: one for all, or as many."""
    if len(values) not in (1, count):
        raise ValueError(f"there are {len(values)} {what} for {count} clips, expected one for each or one for all")
    return values if len(values) == count else values * count
