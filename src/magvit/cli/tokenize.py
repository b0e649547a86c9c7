"""`magvit tokenize`: the tokens that a stage-2 run would compute, computed once."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from magvit.cli.parts import check_parts, compute_parts, wrote
from magvit.cli.shell import check_folder, check_resume

if TYPE_CHECKING:
    from magvit.training.config import TransformerRun

DATA = (
    "clip_shape",
    "stride",
    "target_fps",
    "short_side",
    "resize",
    "flip",
    "labels",
    "synthetic_share",
    "synthetic",
    "split",
)
"""The fields of `DataConfig` that are options here."""


@dataclass(frozen=True)
class Tokenize:
    """Store tokens of clips, and of what tasks show of them, for stage 2 to train on.

    The settings are those of a transformer recipe, and what is given here has to be given to the training as well:

        magvit tokenize magvit-tiny --data CLIPS --tokenizer MODEL --output tokens/tiny --epochs 4
        magvit train transformer magvit-tiny --data CLIPS --tokenizer MODEL --token-cache tokens/tiny

    Without a recipe: all tasks, and clips as the tokenizer's model takes them. For example

        magvit tokenize --data CLIPS --tokenizer magvit-tiny --output tokens/clips

    Work that was interrupted goes on with the same command.
    """

    output: Path
    """Folder to be written or gone on with."""
    recipe: Annotated[Positional[str | None], arg(metavar="[RECIPE]")] = None
    """Transformer recipe that the tokens are for; see magvit presets."""
    data: Path | None = None
    """Folder of clips, classes in sub-folders; a list of clips, shards, or what magvit data prepare wrote."""
    split: str | None = None
    """Of a set with splits: train, test, ...; without it the recipe's, or train."""
    tokenizer: str | None = None
    """Model folder, packaged name, or hub id; without it the recipe's, or magvit-tiny."""
    epochs: int = 1
    """Times each clip is stored, every time with another random window, crop and flip; later epochs repeat these."""
    tasks: tuple[str, ...] | None = None
    """Tasks whose conditions are stored; without them the recipe's, or all."""
    condition_frames: int | None = None
    """Frames given by the frame tasks; without it the recipe's, or the model's."""
    clip_shape: tuple[int, int, int] | None = None
    """Frames, height and width; without it the recipe's, or the model's."""
    stride: int | None = None
    """Step between the frames of a clip; without it the recipe's, or 1."""
    target_fps: float | None = None
    """Rate that videos are resampled to; without it the recipe's, or as stored."""
    short_side: int | None = None
    """Shorter side of the videos before the crop; without it the recipe's, or that of the crop."""
    resize: Literal["bicubic", "tf_bilinear"] | None = None
    """How videos are resized; without it as the recipe, or bicubic."""
    flip: bool | None = None
    """Mirror every other clip; without it as the recipe, or True."""
    labels: bool | None = None
    """Sub-folders are classes; without it as the recipe, or True."""
    synthetic_share: float | None = None
    """Share of synthetic clips; without it the recipe's, or 0."""
    synthetic: tuple[Literal["shapes", "digits", "scenes", "pushing"], ...] | None = None
    """Which synthetic clips; without it as the recipe, or moving shapes."""
    seed: int | None = None
    """Of the random windows, crops and flips: that of the training; without it the recipe's, or 0."""
    precision: Literal["float32", "bfloat16"] | None = None
    """Of the tokenizer; without it the recipe's, or bfloat16 as in training."""
    batch_size: int = 16
    """Clips at once."""
    num_workers: int | None = None
    """Processes that read clips; without it the recipe's, or 0."""
    devices: int = 1
    """Processes that tokenize, on GPUs 0, 1, ... if there are some."""
    part: tuple[int, int] = (0, 1)
    """I N: every N-th file of 1,024 clips, from file I on, as on one of several machines with a common folder."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps, ..."""

    resume: bool = True
    """Go on with what the output folder holds; --no-resume refuses one in which work was begun."""

    def run(self) -> None:
        """Write the tokens."""
        check_folder(self.output)
        check_resume(self.output, self.resume)
        check_parts(self)
        if self.devices > 1:
            from magvit.training.cache_tokens import begin_tokens

            begin_tokens(self.of_training(), self.output, epochs=self.epochs)  # what is wrong is said once
            compute_parts(self)
        self.compute()
        print(wrote(self))

    def compute(self) -> None:
        """What is missing, or of one part."""
        from magvit.device import keep_freed_memory, usable_device
        from magvit.training.cache_tokens import cache_tokens

        keep_freed_memory()
        options = {name: getattr(self, name) for name in ("epochs", "batch_size", "part")}
        cache_tokens(self.of_training(), self.output, device=usable_device(self.device), **options)

    def of_training(self) -> "TransformerRun":
        """The run that the tokens are for: the recipe's, with what the options change."""
        run = self._defaults()
        data = {name: getattr(self, name) for name in DATA}
        clips = run.data if self.data is None else run.data.from_folder(self.data)
        loop = {name: getattr(self, name) for name in ("seed", "num_workers")}
        return replace(
            run,
            data=replace(clips, **_given(data)),
            loop=replace(run.loop, **_given(loop)),
            task_weights=(),  # of the recipe's tasks, and nothing to the tokens
            **_given({name: getattr(self, name) for name in ("tokenizer", "tasks", "condition_frames")}),
            **_given({"tokenizer_precision": self.precision}),
        )

    def _defaults(self) -> "TransformerRun":
        from magvit import hub
        from magvit.data.loader import DataConfig
        from magvit.model_config import ModelConfig
        from magvit.recipes import TRANSFORMER_RECIPES
        from magvit.tasks import TASKS
        from magvit.training.config import LoopConfig, TransformerRun

        if self.recipe is not None:
            if self.recipe not in TRANSFORMER_RECIPES:
                known = ", ".join(TRANSFORMER_RECIPES)
                raise ValueError(f"unknown transformer recipe {self.recipe!r}, expected one of {known}")
            return TRANSFORMER_RECIPES[self.recipe]()
        tokenizer = self.tokenizer or "magvit-tiny"
        folder = hub.resolve(tokenizer)
        model = ModelConfig.load(folder)
        return TransformerRun(
            loop=LoopConfig(num_steps=1, global_batch_size=1),
            data=DataConfig(model.clip_shape),
            tokenizer=tokenizer,
            tasks=tuple(TASKS),
            condition_frames=model.condition_frames,
        )


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in options.items() if value is not None}
