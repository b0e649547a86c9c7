"""What a model's config says of stage 2: its ids, its network, what it has learnt, and how it is best decoded."""

import warnings
from dataclasses import asdict, dataclass, replace
from typing import Literal

from magvit.autoregressive import AutoregressiveConfig
from magvit.decoding import OF_TOKENS, Decoding
from magvit.tasks import MaskMode, Task, TaskFamily, Vocabulary, get_task
from magvit.transformer import TransformerConfig
from magvit.typed_json import optional


@dataclass(frozen=True)
class TaskDecoding:
    """How one task is decoded, where that is not as the others."""

    task: str
    decoding: Decoding


@dataclass(frozen=True, kw_only=True)
class Generator:
    """Stage 2 of a model, whatever the network: ids, what it has learnt, how it is best decoded.

    Attributes:
        vocabulary: ids.
        mask_mode: how it reads a condition, see `magvit.tasks.commit`.
        tasks: names of the tasks it was trained on; empty where an old file does not tell.
        unconditional: whether it saw the unconditional class, which guidance compares with; if it generates from
            nothing, there.
        decoding: how its tokens are drawn unless the caller says otherwise.
        task_decoding: the same for single tasks.
    """

    vocabulary: Vocabulary
    mask_mode: MaskMode = optional("commit")
    tasks: tuple[str, ...] = optional(())
    unconditional: bool = optional(True)
    decoding: Decoding = optional(Decoding())
    task_decoding: tuple[TaskDecoding, ...] = optional(())

    def __post_init__(self) -> None:
        for name in (*self.tasks, *(special.task for special in self.task_decoding)):
            get_task(name)

    def decoding_of(self, task: Task) -> Decoding:
        """How a task is decoded by default."""
        special = {item.task: item.decoding for item in self.task_decoding}
        return special.get(task.name, self.decoding)

    def following(self, task: Task, decoding: Decoding) -> Decoding:
        """How a task is decoded by a rule that was made for masked transformers, such as a published one."""
        return decoding

    def knows(self, task: Task) -> bool:
        """Whether it was trained on a task, as far as is known."""
        return not self.tasks or task.name in self.tasks

    @property
    def from_nothing(self) -> bool:
        """Whether it has learnt to generate from nothing, not even a class, as far as is known."""
        whole = [task for task in map(get_task, self.tasks) if task.family == "full_generation"]
        return not self.tasks or any(self.unconditional or not task.class_conditional for task in whole)

    def check(self, task: Task, decoding: Decoding) -> None:
        """Refuse what the model never learnt.

        A single-task model does the other tasks as well, with a warning: the paper measures that (Table 4).

        Raises:
            ValueError: one sentence that says what it has learnt.
        """
        masking = decoding.mask_mode == "latent_masking"
        if not self.knows(task) and not (self.from_nothing and masking):
            learnt = f"this model was trained on {', '.join(self.tasks)}"
            if self.vocabulary.is_multi_task:
                raise ValueError(f"{learnt}, so it cannot do {task.name}")
            other = " without mask_mode latent_masking" if self.from_nothing and task.needs_video else ""
            warnings.warn(f"{learnt} alone: expect little of {task.name}{other}", stacklevel=4)
        if decoding.guidance_scale and not self.unconditional:
            raise ValueError(
                f"guidance_scale is {decoding.guidance_scale}, expected 0: this model never saw the unconditional "
                "class, which guidance compares with (train with label_dropout)"
            )

    def unconditional_family(self, task: Task) -> TaskFamily:
        """The task token of guidance's unconditional side: that of generation from nothing if it was trained on."""
        return "full_generation" if self.from_nothing else task.family


@dataclass(frozen=True, kw_only=True)
class MaskedGenerator(Generator):
    """The paper's: a `MaskedTransformer`."""

    kind: Literal["masked"] = "masked"
    transformer: TransformerConfig

    def check(self, task: Task, decoding: Decoding) -> None:
        """As for any generator, and refuse latent masking where it is nothing that was learnt, or guidance no guide."""
        super().check(task, decoding)
        if decoding.mask_mode == "latent_masking" and self.mask_mode == "prefix":
            raise ValueError("mask_mode is latent_masking, expected trained: this model reads conditions as a prefix")
        if decoding.mask_mode == "latent_masking" and decoding.guidance_scale and not task.class_conditional:
            raise ValueError(
                f"guidance_scale is {decoding.guidance_scale}, expected 0: without a class, latent masking shows both "
                "sides of guidance the same"
            )


@dataclass(frozen=True, kw_only=True)
class AutoregressiveGenerator(Generator):
    """The paper's baseline: an `AutoregressiveTransformer`, which reads a condition as a prefix or not at all."""

    kind: Literal["autoregressive"] = "autoregressive"
    transformer: AutoregressiveConfig

    def following(self, task: Task, decoding: Decoding) -> Decoding:
        """Tokens drawn as by the rule, but one after the other."""
        return replace(self.decoding_of(task), **{name: getattr(decoding, name) for name in OF_TOKENS})

    def check(self, task: Task, decoding: Decoding) -> None:
        """As for any generator, and refuse options that an autoregressive model does not have."""
        super().check(task, decoding)
        if task.needs_video and self.mask_mode != "prefix":
            raise ValueError(f"this autoregressive model reads the class alone, so it cannot do {task.name}")
        own = self.following(task, decoding)
        for name, value in asdict(decoding).items():
            if value != (expected := getattr(own, name)):
                why = f"an autoregressive model draws one token after the other, by {', '.join(OF_TOKENS)} alone"
                raise ValueError(f"{name} is {value}, expected {expected}: {why}")
