"""ModelConfig: what a trained model is, as it stands in the `config.json` of its folder."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from magvit import storage
from magvit.data.user_clips import VideoSource, user_clips
from magvit.decoding import Decoding
from magvit.generator_config import AutoregressiveGenerator, MaskedGenerator
from magvit.shapes import Video
from magvit.storage import CONFIG
from magvit.tasks import TASKS, Condition, Task, sequence_length
from magvit.tokenizer import TokenizerConfig
from magvit.typed_json import config_from_dict, optional
from magvit.video import MAX_VIDEO_BYTES

Label = int | str
"""Class number or name."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """`config.json` of a model folder.

    Attributes:
        format: version of this layout; version 1 is read as well.
        tokenizer: stage 1.
        clip_shape: `(T, H, W)` of the clips the model works on.
        generator: stage 2, absent in a tokenizer-only folder.
        classes: class names in label order; empty for a model without classes.
        condition_frames: frames given at each end by the frame tasks.
        fps: frames per second at which results are written.

    Raises:
        ValueError: if the parts do not fit each other.
    """

    format: Literal[2] = 2
    tokenizer: TokenizerConfig
    clip_shape: tuple[int, int, int]
    generator: MaskedGenerator | AutoregressiveGenerator | None = optional(None)
    classes: tuple[str, ...] = optional(())
    condition_frames: int = optional(1)
    fps: float = optional(8.0)

    def __post_init__(self) -> None:
        num_tokens = math.prod(self.tokenizer.latent_shape(self.clip_shape))
        if (size := 12 * math.prod(self.clip_shape)) > MAX_VIDEO_BYTES:
            raise ValueError(f"clip_shape is {self.clip_shape}, which takes {size / 2**30:.1f} GiB, expected at most 4")
        if not 0 < self.fps < math.inf:
            raise ValueError(f"fps is {self.fps}, expected a positive number")
        if self.generator is None:
            return
        if not 1 <= self.condition_frames < self.clip_shape[0]:
            raise ValueError(f"condition_frames is {self.condition_frames}, expected 1 to {self.clip_shape[0] - 1}")
        vocabulary, transformer = self.generator.vocabulary, self.generator.transformer
        if vocabulary.codebook_size != self.tokenizer.codebook_size:
            codes = f"{vocabulary.codebook_size} codes and the tokenizer {self.tokenizer.codebook_size}"
            raise ValueError(f"the vocabulary has {codes}")
        if vocabulary.size != transformer.vocab_size:
            raise ValueError(f"the vocabulary has {vocabulary.size} ids and the transformer {transformer.vocab_size}")
        if len(self.classes) != vocabulary.num_classes:
            raise ValueError(f"there are {len(self.classes)} class names for {vocabulary.num_classes} classes")
        length = sequence_length(vocabulary, num_tokens, self.generator.mask_mode)
        if transformer.max_length < length:
            raise ValueError(f"clips make sequences of {length} tokens, the transformer takes {transformer.max_length}")

    def generator_for(self, task: Task) -> MaskedGenerator | AutoregressiveGenerator:
        """Stage 2; ValueError for a model that has none."""
        if self.generator is None:
            raise ValueError(f"this model holds a tokenizer only, so it cannot do {task.name}")
        return self.generator

    def decoding(self, task: Task, **options: Any) -> Decoding:
        """How a task is decoded, with some options of `Decoding` changed. Raises as `MagvitPipeline.decoding`."""
        return self.generator_for(task).decoding_of(task).changed(**options)

    def check(self, task: Task, decoding: Decoding) -> None:
        """ValueError for a task or a guidance that the model never learnt, and for more steps than tokens."""
        self.generator_for(task).check(task, decoding)
        decoding.check(math.prod(self.tokenizer.latent_shape(self.clip_shape)))

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks that it has learnt or, where that is not told, of all that it can be asked for."""
        generator = self.generator
        if generator is None or generator.tasks:
            return generator.tasks if generator else ()
        reads_clips = isinstance(generator, MaskedGenerator) or generator.mask_mode == "prefix"
        return tuple(
            name
            for name, task in TASKS.items()
            if (reads_clips or not task.needs_video) and (self.classes or not task.class_conditional)
        )

    def facts(self) -> tuple[str, str]:
        """What a reader is told of it: its clips, and what it has learnt."""
        grid = "x".join(map(str, self.tokenizer.latent_shape(self.clip_shape)))
        clips = f"clips of {'x'.join(map(str, self.clip_shape))} at {self.fps:g} fps"
        learnt = self.generator.tasks if self.generator else ("no task, as there is no transformer",)
        learnt = learnt or ("tasks that its config does not tell",)
        how = ", one token after the other" if isinstance(self.generator, AutoregressiveGenerator) else ""
        return (
            f"{clips} as {grid} tokens of {self.tokenizer.codebook_size} codes",
            f"does {', '.join(learnt)}{how}; {len(self.classes)} classes",
        )

    def check_condition(self, condition: Condition) -> None:
        """ValueError for a condition of another shape, or one that shows more than the transformer can read."""
        latent_shape = self.tokenizer.latent_shape(self.clip_shape)
        found = tuple(condition.cond_video.shape[1:]), tuple(condition.cond_token_mask.shape[1:])
        expected = (3, *self.clip_shape), latent_shape
        if found != expected:
            raise ValueError(f"the condition's video and token mask have shapes {found}, expected {expected}")
        generator = self.generator
        if generator is not None and generator.mask_mode == "prefix":
            given = int(condition.cond_token_mask.flatten(1).sum(1).max())
            length = sequence_length(generator.vocabulary, math.prod(latent_shape), "prefix", given)
            if length > generator.transformer.max_length:
                takes = f"this transformer takes {generator.transformer.max_length}"
                raise ValueError(f"the condition gives {given} tokens, which makes sequences of {length}; {takes}")

    def check_request(
        self,
        task: Task,
        decoding: Decoding,
        has_video: bool,
        labels: Sequence[Label | None],
        num_samples: int = 1,
        seeds: Sequence[int] = (0,),
    ) -> None:
        """All that can be wrong with what a pipeline is asked for, before anything is loaded or read.

        Raises:
            ValueError: one sentence.
        """
        self.check(task, decoding)
        if has_video != task.needs_video:
            wanted = "takes no video, but one is given" if has_video else "needs a video"
            raise ValueError(f"{task.name} {wanted}")
        for label in labels:
            self.class_number(task, label)
        for name, value, least in (("num_samples", num_samples, 1), *(("seed", seed, 0) for seed in seeds)):
            if not isinstance(value, int) or value < least:
                raise ValueError(f"{name} is {value!r}, expected a whole number of at least {least}")

    def clips(self, source: VideoSource, task: Task | None = None) -> Video:
        """A user's clips as the model takes them, see `user_clips`; for prediction from one frame a picture will do."""
        from_one = task is not None and task.family == "frame_prediction" and self.condition_frames == 1
        return user_clips(source, self.clip_shape, from_one)

    def class_number(self, task: Task, label: Label | None) -> int | None:
        """The number of a label that goes with a task; None where the model is fed no class.

        Raises:
            ValueError: the task takes no label or needs one, or there is no such class.
        """
        if not task.class_conditional:
            if label is not None:
                raise ValueError(f"{task.name} takes no label, but {label!r} is given")
            return None
        if self.generator and not self.generator.knows(task):  # Table 4: a single-task model at another task
            return None
        if not self.classes:
            raise ValueError(f"{task.name} needs classes, and this model was trained without")
        if label in self.classes:
            return self.classes.index(label)
        if isinstance(label, int) and 0 <= label < len(self.classes):
            return label
        names = ", ".join(self.classes[:3]) + (", ..." if len(self.classes) > 3 else "")
        found = f"{task.name} needs a label" if label is None else f"label is {label!r}"
        near = get_close_matches(str(label), self.classes, 1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"{found}, expected 0 to {len(self.classes) - 1} or a class name ({names}){meant}")

    @classmethod
    def load(cls, folder: Path) -> "ModelConfig":
        """The `config.json` of a model folder.

        Raises:
            FileNotFoundError: there is none.
            ValueError: something in it is wrong, or the folder is of another kind.
        """
        return cls.from_dict(storage.load_config(folder, "model"), str(folder / CONFIG))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str = CONFIG) -> "ModelConfig":
        """Read JSON strictly, formats 1 and 2; only fields declared optional may be absent.

        Raises:
            ValueError: names `where` and the field.
        """
        if values.get("format") == 1:
            values = _from_format_1(values)
        return config_from_dict(cls, values, where)

    def to_dict(self) -> dict[str, Any]:
        """For JSON; what a tokenizer-only model lacks is left out."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def _from_format_1(values: Mapping[str, Any]) -> dict[str, Any]:
    """There, transformer, vocabulary and mask_mode stood beside the tokenizer, and no more was known of stage 2."""
    stage_2 = {name: values[name] for name in ("transformer", "vocabulary", "mask_mode") if name in values}
    rest = {name: value for name, value in values.items() if name not in stage_2}
    generator = {"kind": "masked", **stage_2} if stage_2.get("transformer") or stage_2.get("vocabulary") else None
    return {**rest, "format": 2, "generator": generator}
