"""`magvit doctor`: is the installation, this run folder or this set of clips as it should be."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

if TYPE_CHECKING:
    from magvit.doctor import Result


@dataclass(frozen=True)
class Doctor:
    """Say what is wrong with an installation, a run or a set of clips, and what to do.

    One line for each thing looked at: ok, warning or error; its name; what was found. The exit code is 0 if there was
    no error, 1 if there was one, and 2 if there is nothing to look at. For example

        magvit doctor
        magvit doctor runs/debug-tokenizer
        magvit doctor my_clips --clip-shape 16 64 64
        magvit doctor prepared/ucf101 --split test --limit 200
    """

    folder: Annotated[Positional[str | None], arg(metavar="[FOLDER]")] = None
    """A run folder, a model folder, or clips: a folder of videos, a prepared data set, shards (here or behind a URL), a
    token cache. Without one, the installation."""
    clip_shape: tuple[int, int, int] | None = None
    """Of clips: frames, height and width to train on; without it 16, 128 and 128, or the shorter side of shards."""
    stride: int = 1
    """Of clips: step between the frames."""
    target_fps: float | None = None
    """Of clips: rate that videos are resampled to."""
    split: str = "train"
    """Of a prepared data set: which of its clips."""
    limit: int | None = None
    """Of clips: look at so many videos, evenly spaced; without it, at all."""

    def run(self) -> None:
        """Look, and print."""
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit is {self.limit}, expected at least 1")
        errors = 0
        for result in self._results():
            errors += result.status == "error"
            print(result, flush=True)
        if errors:
            raise SystemExit(1)

    def _results(self) -> "Iterable[Result]":
        from tqdm import tqdm

        from magvit.data.loader import DataConfig, clips_of
        from magvit.data.shard_index import is_shard_folder, load_index
        from magvit.doctor.data import check_clips, check_tokens, is_token_cache
        from magvit.doctor.installation import check_installation
        from magvit.doctor.run_folder import check_model, check_run, is_run_folder
        from magvit.storage import kind_of

        if self.folder is None:
            return check_installation()
        path = Path(self.folder)
        if is_token_cache(path):
            return check_tokens(path)
        if is_run_folder(path):
            return check_run(path)
        kind = kind_of(path)
        if kind == "model":
            return check_model(path)
        if kind == "evaluation":
            raise ValueError(
                f"{path} is an evaluation, expected a run, a model or clips: its numbers are in results.md"
            )

        def bar(videos: Sequence[int]) -> Iterable[int]:
            return tqdm(videos, unit="video", disable=None, leave=False)

        shape = self.clip_shape
        if shape is None:
            side = load_index(self.folder).short_side if is_shard_folder(self.folder) else 128
            shape = (16, side, side)
        config = DataConfig(shape, stride=self.stride, target_fps=self.target_fps, split=self.split)
        return check_clips(clips_of(config, self.folder), self.limit, bar)
