"""`magvit doctor`: is the installation, this run folder or this folder of videos as it should be."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional


@dataclass(frozen=True)
class Doctor:
    """Say what is wrong with an installation, a run folder or a folder of videos, and what to do about it.

    One line for each thing looked at: ok, warning or error; its name; what was found. The exit code is 0 if there was
    no error, 1 if there was one, and 2 if there is nothing to look at. For example

        magvit doctor
        magvit doctor runs/debug-tokenizer
        magvit doctor my_clips --clip-shape 16 64 64
    """

    folder: Positional[Path | None] = None
    """A run folder, a model folder or a folder of videos; without one, the installation."""
    clip_shape: tuple[int, int, int] = (16, 128, 128)
    """Of videos: frames, height and width to train on."""
    stride: int = 1
    """Of videos: step between the frames of a clip."""
    limit: int | None = None
    """Of videos: look at so many, evenly spaced; without it, at all."""

    def run(self) -> None:
        """Look, and print."""
        from tqdm import tqdm

        from magvit import hub
        from magvit.doctor.data import check_data
        from magvit.doctor.installation import check_installation
        from magvit.doctor.run import check_model, check_run, is_run_folder

        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit is {self.limit}, expected at least 1")
        if self.folder is None:
            results = check_installation()
        elif is_run_folder(self.folder):
            results = check_run(self.folder)
        elif (self.folder / hub.CONFIG).is_file():
            results = check_model(self.folder)
        else:

            def bar(videos: Sequence[int]) -> Iterable[int]:
                return tqdm(videos, unit="video", disable=None, leave=False)

            results = check_data(self.folder, self.clip_shape, self.stride, self.limit, bar)
        errors = 0
        for result in results:
            errors += result.status == "error"
            print(result, flush=True)
        if errors:
            raise SystemExit(1)
