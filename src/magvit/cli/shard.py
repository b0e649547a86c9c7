"""`magvit shard`: clips in shards for large sets; or the tokens that a stage-2 run would compute, computed once."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from magvit.cli.shell import check_folder

if TYPE_CHECKING:
    from magvit.data.manifest import Manifest
    from magvit.training.config import TransformerRun

DATA = ("clip_shape", "stride", "target_fps", "short_side", "flip", "labels", "synthetic_share", "synthetic", "split")
"""The fields of `DataConfig` that are options here."""
OF_TOKENS = ("recipe", "tokenizer", "epochs", "tasks", "condition_frames", "precision", "batch_size")
"""Options that say that tokens are wanted, as do those of `DATA` but for the two that shards have too."""


@dataclass(frozen=True)
class Shard:
    """Store clips in shards, small and quick to read; or, with a tokenizer or a recipe, their tokens.

    Shards of clips are trained on as the folder they came from is:

        magvit shard --data CLIPS --output shards/clips --num-workers 8
        magvit train tokenizer ucf101 --data shards/clips

    Of tokens the settings are those of a transformer recipe, and what is given here has to be given to the training as
    well; stage 2 then trains without running the tokenizer:

        magvit shard magvit-tiny --data CLIPS --tokenizer MODEL --output tokens/tiny --epochs 4
        magvit train transformer magvit-tiny --data CLIPS --tokenizer MODEL --token-cache tokens/tiny

    Without a recipe: all tasks, and clips as the tokenizer's model takes them. For example

        magvit shard --data CLIPS --tokenizer magvit-tiny --output tokens/clips

    Any option that is about tokens asks for tokens.

    Work that was interrupted goes on with the same command.
    """

    output: Path
    """Folder to be written or gone on with."""
    recipe: Annotated[Positional[str | None], arg(metavar="[RECIPE]")] = None
    """Transformer recipe that the tokens are for; see magvit presets."""
    data: Path | None = None
    """Folder of clips, classes in sub-folders; for shards also a list of clips, or what magvit data prepare wrote."""
    split: str | None = None
    """Of a prepared data set: train, test, ...; without it the recipe's, or train."""
    clips_per_shard: int = 256
    """Clips in a file, for shards."""
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
    """Of shards: shorter side of the videos, 128 without it. Of tokens: shorter side before the crop; without it the
    recipe's, or that of the crop."""
    flip: bool | None = None
    """Mirror every other clip; without it as the recipe, or True."""
    labels: bool | None = None
    """Sub-folders are classes; without it as the recipe, or True."""
    synthetic_share: float | None = None
    """Share of synthetic clips; without it the recipe's, or 0."""
    synthetic: tuple[Literal["shapes", "digits", "scenes", "pushing"], ...] | None = None
    """Which synthetic clips, several names taking turns; without it as the recipe, or moving shapes."""
    seed: int | None = None
    """Of the random windows, crops and flips: that of the training; without it the recipe's, or 0."""
    precision: Literal["float32", "bfloat16"] | None = None
    """Of the tokenizer; without it the recipe's, or bfloat16 as in training."""
    batch_size: int = 16
    """Clips at once."""
    num_workers: int | None = None
    """Processes that read (and for shards encode) clips; without it the recipe's, or 0."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps, ..."""

    def run(self) -> None:
        """Write shards or tokens."""
        check_folder(self.output)
        if self.of_clips():
            self._write_clips()
        else:
            self._write_tokens()

    def of_clips(self) -> bool:
        """Whether nothing was said of tokens."""
        about_tokens = {*OF_TOKENS, *DATA} - {"short_side", "split"}
        return all(field.default == getattr(self, field.name) for field in fields(self) if field.name in about_tokens)

    def _write_clips(self) -> None:
        if self.data is None:
            raise ValueError("no data: give a folder of clips (--data PATH)")
        from magvit.data.shard_writer import write_shards

        manifest = clips_of(self.data, self.split)
        index = write_shards(
            manifest,
            self.output,
            short_side=128 if self.short_side is None else self.short_side,
            clips_per_shard=self.clips_per_shard,
            num_workers=self.num_workers or 0,
        )
        left_out = len(manifest.records) - len(index)
        told = f"wrote {self.output}: {len(index)} clips in {len(index.shards)} shards"
        print(told + (f", {left_out} clips that cannot be read left out" if left_out else ""))

    def _write_tokens(self) -> None:
        from magvit.device import usable_device
        from magvit.training.cache_tokens import cache_tokens

        device = usable_device(self.device)
        run = self.of_training()
        cache_tokens(run, self.output, epochs=self.epochs, batch_size=self.batch_size, device=device)
        print(f"wrote {self.output}")

    def of_training(self) -> "TransformerRun":
        """The run that the tokens are for: the recipe's, with what the options change."""
        run = self._defaults()
        data = {name: getattr(self, name) for name in DATA}
        clips = run.data if self.data is None else run.data.from_folder(self.data)
        loop = {name: getattr(self, name) for name in ("seed", "precision", "num_workers")}
        return replace(
            run,
            data=replace(clips, **_given(data)),
            loop=replace(run.loop, **_given(loop)),
            task_weights=(),  # of the recipe's tasks, and nothing to the tokens
            **_given({name: getattr(self, name) for name in ("tokenizer", "tasks", "condition_frames")}),
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
        model = ModelConfig.from_dict(hub.load_config(folder), str(folder / hub.CONFIG))
        return TransformerRun(
            loop=LoopConfig(num_steps=1, global_batch_size=1),
            data=DataConfig(model.clip_shape),
            tokenizer=tokenizer,
            tasks=tuple(TASKS),
            condition_frames=model.condition_frames,
        )


def clips_of(data: Path, split: str | None) -> "Manifest":
    """The clips of a split (train by default) of a prepared data set or of a list, or of any folder of clips.

    Raises:
        OSError: it is not there.
        ValueError: there are none, or none of the split.
    """
    from magvit.data.manifest import Manifest, is_manifest, load_manifest
    from magvit.data.sources import SOURCES

    if is_manifest(data):
        manifest = load_manifest(data)
    else:
        listing = SOURCES["folder"].read(data)
        manifest = Manifest(data.absolute().name, listing.root, listing.classes, listing.records)
    has_splits = any(record.split for record in manifest.records)
    return manifest.split(split or "train") if split or has_splits else manifest


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in options.items() if value is not None}
