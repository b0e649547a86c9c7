"""MagvitPipeline: a model folder turned into something that generates, edits and reconstructs video.

The pipeline joins the pieces and owns none of the mathematics: conditions come from `magvit.tasks`, the loop from
`magvit.decoding`, the networks from `magvit.tokenizer` and `magvit.transformer`.
"""

import contextlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar, get_args

import torch
from jaxtyping import Int
from torch import Tensor

from magvit import hub
from magvit.data.transforms import fit_clip
from magvit.decoding import DecodingStep, Logits, decode, guide
from magvit.device import usable_device
from magvit.model_config import ModelConfig
from magvit.seeds import generator_for
from magvit.shapes import TokenMask, Tokens, Video, check_video
from magvit.tasks import Task, Vocabulary, get_task, mask_ratio
from magvit.tokenizer import VideoTokenizer
from magvit.transformer import MaskedTransformer
from magvit.video import read_video

T = TypeVar("T")
Precision = Literal["float32", "bfloat16"]
Label = int | str
VideoSource = str | Path | Tensor
"""A video file, or float RGB `B C T H W` or `C T H W` in [0, 1]."""


class GenerationOutput(NamedTuple):
    """Results for `B = clips * num_samples`, the samples of one clip side by side.

    `video` and `cond_video` are pixels in [0, 1] at the model's clip shape, `tokens` what `video` was decoded from.
    """

    video: Video
    tokens: Tokens
    cond_video: Video


class MagvitPipeline:
    """A tokenizer and, unless the folder holds only that, a masked transformer, on one device.

    Attributes:
        config: the model's `ModelConfig`.
        tokenizer: `VideoTokenizer`, in evaluation mode.
        transformer: `MaskedTransformer` in evaluation mode, or None.
        precision: `bfloat16` runs the networks under autocast; weights, distances and sampling stay float32.
    """

    def __init__(
        self,
        config: ModelConfig,
        tokenizer: VideoTokenizer,
        transformer: MaskedTransformer | None = None,
        precision: Precision = "float32",
    ) -> None:
        if precision not in get_args(Precision):
            raise ValueError(f"precision is {precision!r}, expected float32 or bfloat16")
        if (transformer is None) != (config.transformer is None):
            raise ValueError("the config and the networks disagree on whether there is a transformer")
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
            ValueError: something in it is wrong, or the device is unknown; one sentence says what.
        """
        where = usable_device(device)
        folder = hub.resolve(name)
        config = ModelConfig.from_dict(hub.load_config(folder), str(folder / hub.CONFIG))
        tokenizer = VideoTokenizer(config.tokenizer)
        hub.load_state(tokenizer, hub.load_tensors(folder, "tokenizer"), folder / "tokenizer.safetensors")
        transformer = None
        if config.transformer is not None:
            transformer = MaskedTransformer(config.transformer)
            hub.load_state(transformer, hub.load_tensors(folder, "transformer"), folder / "transformer.safetensors")
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

    def load_clip(self, video: VideoSource) -> Video:
        """A clip at the model's shape, on its device, fitted by the one rule of `fit_clip` whether file or tensor.

        The first `T` frames are taken; the picture is resized until it covers `H x W`, then cropped at its centre.

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
    def reconstruct(self, video: VideoSource) -> Video:
        """A clip through the tokenizer and back: `B C T H W` in [0, 1]. Input and errors as in `load_clip`."""
        clip = self.load_clip(video)
        with self._autocast():
            return self.tokenizer.reconstruct(clip)

    @torch.inference_mode()
    def __call__(
        self,
        task: str,
        video: VideoSource | None = None,
        label: Label | Sequence[Label] | None = None,
        *,
        num_steps: int = 12,
        mask_temperature: float = 4.5,
        temperature: float = 1.0,
        mask_schedule: str = "cosine",
        guidance_scale: float = 0.0,
        top_k: int = 0,
        top_p: float = 0.0,
        num_samples: int = 1,
        seed: int | Sequence[int] = 0,
        callback: Callable[[DecodingStep], None] | None = None,
    ) -> GenerationOutput:
        """Generate or edit clips with one of the tasks (Algorithm 1).

        Args:
            task: a name or the paper's code: `frame_prediction`, `OPC`, ...; see `magvit.tasks.TASKS`.
            video: what to predict from or edit; see `load_clip`. The generation tasks without a condition take none.
            label: class number or name, for the class-conditional tasks; or one for each clip.
            num_steps: passes of the transformer, from 1 to the number of tokens of a clip.
            mask_temperature: randomness of the order in which tokens are fixed, annealed to 0.
            temperature: randomness of the tokens themselves; 0 takes the likeliest.
            mask_schedule: share of tokens left masked over the steps, see `magvit.tasks.schedule`.
            guidance_scale: g of `logits + g * (logits - unconditional logits)`; 0 is off.
            top_k, top_p: sample among the likeliest tokens only; 0 is off.
            num_samples: results for each clip.
            seed: sample j of each clip draws from a generator of its own, seeded with `(seed, j)`: its tokens do not
                depend on how many other clips or samples are asked for. A sequence gives each clip a seed of its own.
            callback: called with the state of each decoding step, see `magvit.decoding.decode`.

        Raises:
            ValueError: an argument is not what was expected; one sentence, before any work.
            OSError: the video file cannot be read.
        """
        chosen = get_task(task)
        checked = [self._check_condition(chosen, video is not None, one) for one in _list(label)]
        vocabulary = checked[0][0]
        T, H, W = self.config.clip_shape
        latent_shape = self.config.tokenizer.latent_shape(self.config.clip_shape)
        _check_options(
            math.prod(latent_shape),
            num_steps=num_steps,
            mask_temperature=mask_temperature,
            temperature=temperature,
            guidance_scale=guidance_scale,
            top_k=top_k,
            top_p=top_p,
            num_samples=num_samples,
            seed=min(_list(seed)),
        )
        mask_ratio(mask_schedule, torch.zeros(()), 1)  # refuses an unknown schedule

        count = max(len(_list(label)), len(_list(seed)))
        clip = torch.zeros(count, 3, T, H, W, device=self.device) if video is None else self.load_clip(video)
        labels = _for_each("labels", [number for _, number in checked], len(clip))
        seeds = _for_each("seeds", _list(seed), len(clip))
        condition = chosen.condition(clip, latent_shape, self.config.condition_frames)
        with self._autocast():
            cond_tokens = self.tokenizer.encode(condition.cond_video)

        cond_tokens = cond_tokens.repeat_interleave(num_samples, 0)
        cond_token_mask = condition.cond_token_mask.repeat_interleave(num_samples, 0)

        tokens = decode(
            self._logits_fn(chosen, vocabulary, labels, guidance_scale, cond_tokens, cond_token_mask),
            cond_tokens,
            cond_token_mask,
            mask_mode=self.config.mask_mode,
            mask_token_id=vocabulary.mask_token_id,
            num_steps=num_steps,
            mask_schedule=mask_schedule,
            mask_temperature=mask_temperature,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            generators=[generator_for(one, sample) for one in seeds for sample in range(num_samples)],
            callback=callback,
        )
        with self._autocast():
            result = self.tokenizer.decode(tokens)
        return GenerationOutput(result, tokens, condition.cond_video.repeat_interleave(num_samples, 0))

    def _check_condition(self, task: Task, has_video: bool, label: Label | None) -> tuple[Vocabulary, int | None]:
        """The vocabulary and the label's number, once task, video and label are known to go together."""
        classes, vocabulary = self.config.classes, self.config.vocabulary
        if vocabulary is None:
            raise ValueError(f"this model holds a tokenizer only, so it cannot do {task.name}")
        if has_video != task.needs_video:
            raise ValueError(
                f"{task.name} {'needs a video' if task.needs_video else 'takes no video, but one is given'}"
            )
        if not task.class_conditional:
            if label is not None:
                raise ValueError(f"{task.name} takes no label, but {label!r} is given")
            return vocabulary, None
        if not classes:
            raise ValueError(f"{task.name} needs classes, and this model was trained without")
        if label in classes:
            return vocabulary, classes.index(label)
        if isinstance(label, int) and 0 <= label < len(classes):
            return vocabulary, label
        names = ", ".join(classes[:3]) + (", ..." if len(classes) > 3 else "")
        expected = f"0 to {len(classes) - 1} or a class name ({names})"
        if label is None:
            raise ValueError(f"{task.name} needs a label, {expected}")
        raise ValueError(f"label is {label!r}, expected {expected}")

    def _logits_fn(
        self,
        task: Task,
        vocabulary: Vocabulary,
        labels: list[int | None],
        guidance_scale: float,
        cond_tokens: Tokens,
        cond_token_mask: TokenMask,
    ) -> Callable[[Tokens, Tokens], Logits]:
        """What `decode` asks at each step: `[prefix, latents]` through the transformer; guided, twice in one batch."""
        assert self.transformer is not None
        transformer, has_segments = self.transformer, self.transformer.config.num_segments > 0
        prefixes = torch.stack([vocabulary.prefix(task.family, label).flatten() for label in labels]).to(self.device)
        prefix = prefixes.repeat_interleave(len(cond_tokens) // len(labels), 0)
        uncond_prefix = vocabulary.prefix("full_generation").to(self.device).expand(len(cond_tokens), -1)
        if self.config.mask_mode == "prefix":
            nothing_given = torch.zeros_like(cond_token_mask)
            prefix = torch.cat([prefix, vocabulary.condition_prefix(cond_tokens, cond_token_mask)], 1)
            uncond_prefix = torch.cat([uncond_prefix, vocabulary.condition_prefix(cond_tokens, nothing_given)], 1)

        def logits_fn(inputs: Tokens, uncond_inputs: Tokens) -> Logits:
            sequences = [_sequence(prefix, inputs)]
            segments = [_sequence(torch.zeros_like(prefix), (inputs != uncond_inputs).long())]
            if guidance_scale:
                sequences.append(_sequence(uncond_prefix, uncond_inputs))
                segments.append(torch.zeros_like(segments[0]))
            with self._autocast():
                logits = transformer(torch.cat(sequences), torch.cat(segments) if has_segments else None)
            logits = logits[:, prefix.shape[1] :, : vocabulary.codebook_size].float()
            logits = logits.unflatten(1, inputs.shape[1:])
            return guide(logits[: len(inputs)], logits[len(inputs) :], guidance_scale) if guidance_scale else logits

        return logits_fn

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16")


def _list(value: Any) -> list[Any]:
    """One value or several, as a list."""
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]


def _for_each(what: str, values: list[T], count: int) -> list[T]:
    """A value for each of `count` clips: one for all, or as many."""
    if len(values) not in (1, count):
        raise ValueError(f"there are {len(values)} {what} for {count} clips, expected one for each or one for all")
    return values if len(values) == count else values * count


def _sequence(prefix: Int[Tensor, "B P"], grid: Tokens) -> Int[Tensor, "B L"]:
    """The prefix before each token grid, row-major with time slowest."""
    return torch.cat([prefix, grid.flatten(1)], 1)


def _check_options(num_tokens: int, **options: int | float) -> None:
    """Refuse a number outside its range before any work is done."""
    ranges = {"num_steps": (1, num_tokens), "num_samples": (1, math.inf), "top_p": (0, 1)}
    for name, value in options.items():
        low, high = ranges.get(name, (0, math.inf))
        if not (math.isfinite(value) and low <= value <= high):
            expected = f"{low} to {high}" if high < math.inf else f"a finite number of {low} or more"
            raise ValueError(f"{name} is {value}, expected {expected}")
