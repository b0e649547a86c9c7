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
from typing import Any, Literal, NamedTuple, TypeVar, get_args

import torch
from torch import Tensor

from magvit import hub
from magvit.data.transforms import fit_clip
from magvit.decoding import Decoding, DecodingStep
from magvit.device import usable_device
from magvit.generation import Transformer, generate, make_transformer
from magvit.model_config import Generator, Label, MaskedGenerator, ModelConfig
from magvit.seeds import generator_for
from magvit.shapes import Grid, TokenMask, Tokens, Video, check_video
from magvit.tasks import Condition, Task, get_task, sequence_length
from magvit.tokenizer import VideoTokenizer
from magvit.video import read_video

T = TypeVar("T")
Precision = Literal["float32", "bfloat16"]
VideoSource = str | Path | Tensor
"""A video file, or float RGB `B C T H W` or `C T H W` in [0, 1]."""


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
        precision: Precision = "float32",
    ) -> None:
        if precision not in get_args(Precision):
            raise ValueError(f"precision is {precision!r}, expected float32 or bfloat16")
        if (transformer and transformer.config) != (config.generator and config.generator.transformer):
            raise ValueError("the config describes another transformer than the one that is given")
        self.config = config
        self.tokenizer = tokenizer.eval()
        self.transformer = None if transformer is None else transformer.eval()
        self.precision = precision

    @classmethod
    def from_pretrained(
        cls, name: str | Path, device: str | torch.device = "cpu", precision: Precision = "float32"
    ) -> "MagvitPipeline":
        """Load a model folder: a local path, the name of a packaged model, or a hub id `user/name`.

        Raises:
            OSError: it is not there.
            ValueError: something in it is wrong, or the device is unknown.
        """
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

    def to(self, device: str | torch.device) -> "MagvitPipeline":
        """Move the networks; returns the pipeline."""
        where = usable_device(device)
        self.tokenizer.to(where)
        if self.transformer is not None:
            self.transformer.to(where)
        return self

    @torch.inference_mode()
    def __call__(
        self,
        task: str,
        video: VideoSource | None = None,
        label: Label | Sequence[Label] | None = None,
        *,
        condition: Condition | None = None,
        decoding: Decoding | None = None,
        num_samples: int = 1,
        keep_given: bool = False,
        seed: int | Sequence[int] = 0,
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
            keep_given: put the given pixels back over the result. The paper's numbers are without.
            seed: sample j of each clip draws from a generator of its own, seeded with `(seed, j)`: its tokens do not
                depend on how many other clips or samples are asked for. A sequence gives each clip a seed of its own.
            callback: called with the state of each decoding step, see `magvit.decoding.decode`.
            **options: single fields of `Decoding` that are to be other than `decoding` says: `num_steps=8`, ...

        Raises:
            ValueError: an argument is not what was expected; one sentence, before any work.
            TypeError: there is no such option.
            OSError: the video file cannot be read.
        """
        chosen = get_task(task)
        decoding = (decoding or self.decoding(task)).changed(**options)
        self.check(chosen, decoding)
        latent_shape = self.config.tokenizer.latent_shape(self.config.clip_shape)
        if video is not None and condition is not None:
            raise ValueError("a video and a condition are given, expected one of them")
        if (has_video := video is not None or condition is not None) != chosen.needs_video:
            wanted = "takes no video, but one is given" if has_video else "needs a video"
            raise ValueError(f"{chosen.name} {wanted}")
        labels = [self.config.class_number(chosen, one) for one in _list(label)]
        for name, value, least in (("num_samples", num_samples, 1), ("seed", min(_list(seed)), 0)):
            if value < least:
                raise ValueError(f"{name} is {value}, expected at least {least}")

        if condition is None:
            count = max(len(labels), len(_list(seed)))
            clip = torch.zeros(count, 3, *self.config.clip_shape) if video is None else self.prepare(video)
            condition = chosen.condition(clip.to(self.device), latent_shape, self.config.condition_frames)
        self.check_condition(condition, latent_shape)
        count = len(condition.cond_video)
        labels = [one for one in _for_each("labels", labels, count) for _ in range(num_samples)]
        seeds = _for_each("seeds", _list(seed), count)
        cond_tokens = self.encode_condition(condition).repeat_interleave(num_samples, 0)
        tokens = self.generate_tokens(
            chosen,
            cond_tokens,
            condition.cond_token_mask.to(self.device).repeat_interleave(num_samples, 0),
            labels,
            decoding,
            [generator_for(one, sample) for one in seeds for sample in range(num_samples)],
            callback,
        )
        cond_video = condition.cond_video.to(self.device).repeat_interleave(num_samples, 0)
        made = self.decode_tokens(tokens)
        if keep_given:
            made = torch.where(condition.cond_mask.to(self.device).repeat_interleave(num_samples, 0), cond_video, made)
        return GenerationOutput(made, tokens, cond_video)

    def decoding(self, task: str, **options: Any) -> Decoding:
        """How this model decodes a task, with some options of `Decoding` changed; those that are None stay.

        Raises:
            ValueError: there is no such task, the model holds a tokenizer only, or an option is out of range.
            TypeError: there is no such option.
        """
        chosen = get_task(task)
        return self._generator(chosen).decoding_of(chosen).changed(**options)

    def check(self, task: Task, decoding: Decoding) -> None:
        """ValueError for a task or a guidance that the model never learnt, and for more steps than tokens."""
        self._generator(task).check(task, decoding)
        decoding.check(math.prod(self.config.tokenizer.latent_shape(self.config.clip_shape)))

    # --- The four steps ----------------------------------------------------------------------------------------------

    def prepare(self, video: VideoSource) -> Video:
        """The first `T` frames at the model's size, on its device, fitted by the one rule of `fit_clip`.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is no video, has fewer than `T` frames, or the tensor is not in [0, 1].
        """
        frames = self.config.clip_shape[0]
        if isinstance(video, Tensor):
            clip = video[None] if video.ndim == 4 else video
            check_video(clip)
            if clip.shape[2] < frames:
                raise ValueError(f"the video has {clip.shape[2]} frames, this model needs {frames}")
        else:
            clip = read_video(video, num_frames=frames)[None]
        return fit_clip(clip.float(), self.config.clip_shape).clamp(0, 1).to(self.device)

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
                self._generator(task),
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

    def _generator(self, task: Task) -> Generator:
        if self.config.generator is None:
            raise ValueError(f"this model holds a tokenizer only, so it cannot do {task.name}")
        return self.config.generator

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
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]


def _for_each(what: str, values: list[T], count: int) -> list[T]:
    """A value for each of `count` clips: one for all, or as many."""
    if len(values) not in (1, count):
        raise ValueError(f"there are {len(values)} {what} for {count} clips, expected one for each or one for all")
    return values if len(values) == count else values * count
