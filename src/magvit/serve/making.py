"""A wish becomes steps, while they are made, and then files. One is made at a time, whoever waits."""

import json
import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from queue import SimpleQueue
from tempfile import mkdtemp

from magvit.decoding import DecodingStep
from magvit.pipeline import MagvitPipeline
from magvit.serve.pictures import Picture, frames_of, panels_of, side_by_side, step_pictures, steps_sheet
from magvit.serve.uploads import Limits, taken
from magvit.serve.wishes import WORKS, Wish, decoding_of, plan_of
from magvit.storage import written_whole
from magvit.video import Source, read_metadata, write_video
from magvit.video.writing import import_image

Tell = Callable[[BaseException], str | None]
"""One sentence for a visitor's error, None for a bug."""
SHOWN_STEPS = 16
"""Of all steps at most so many are shown."""


class Left(Exception):
    """Nobody looks at the work any more."""


@dataclass(frozen=True)
class Step:
    """A decoding step.

    Attributes:
        number, total: of steps.
        share: of the tokens that are fixed.
        picture, tokens: see `step_pictures`.
    """

    number: int
    total: int
    share: float
    picture: Picture
    tokens: Picture


@dataclass(frozen=True)
class Done:
    """Files of a result: the clip, what plays side by side, the steps, and the settings; and how long it took."""

    clip: Path
    sides: Path
    steps: Path | None
    settings: Path
    seconds: float


@dataclass(frozen=True)
class Workshop:
    """A model, and where results are written: a folder for each, within `folder`."""

    pipe: MagvitPipeline
    folder: Path
    limits: Limits
    lock: threading.Lock = field(default_factory=threading.Lock)

    def make(self, wish: Wish, source: Source | None) -> Iterator[Step | Done]:
        """The steps of a result, then its files. Work ends soon after the iterator is closed.

        Args:
            wish: what is wanted.
            source: the clip or photo as it was sent, for work that takes one.

        Raises:
            ValueError, OSError: one sentence.
        """
        items: SimpleQueue[Step | Done | BaseException] = SimpleQueue()
        left = threading.Event()

        def work() -> None:
            try:
                with self.lock:
                    items.put(self._make(wish, source, items, left))
            except BaseException as error:
                items.put(error)

        threading.Thread(target=work, daemon=True).start()
        try:
            while isinstance(item := items.get(), Step):
                yield item
            if isinstance(item, BaseException):
                raise item
            yield item
        finally:
            left.set()

    def _make(self, wish: Wish, source: Source | None, steps: SimpleQueue, left: threading.Event) -> Done:
        pipe, config, task, begun = self.pipe, self.pipe.config, WORKS[wish.work].task, time.monotonic()
        folder = Path(mkdtemp(dir=self.folder))
        clip, plan = folder / "result.mp4", None
        if task.needs_video:
            if source is None:
                raise ValueError(f"{WORKS[wish.work].title} needs a clip: choose a drawn one or send your own")
            still = wish.work == "animate"
            plan = plan_of(config, wish, taken(config, source, wish.start, folder / "given", still))
        decoding = decoding_of(config, wish)
        total = plan.num_steps if plan else decoding.num_steps
        every, before, number, shown = math.ceil(total / SHOWN_STEPS), None, 0, []

        def watch(state: DecodingStep) -> None:
            nonlocal before, number
            number += 1
            if left.is_set():
                raise Left
            if time.monotonic() - begun > self.limits.work:
                raise ValueError(
                    f"the work took more than {self.limits.work:g} seconds: fewer steps or a smaller clip will do"
                )
            settled = ~state.masked[:1].cpu()
            if state.step == 0 or before is None:
                before = settled & False
            if number % every and number < total:
                return
            video = pipe.decode_tokens(state.tokens[:1])[0].float().cpu()
            shown.append(step_pictures(video, settled, before))
            steps.put(Step(number, total, settled.float().mean().item(), *shown[-1]))
            before = settled

        if plan is None:
            made = pipe(
                task.name,
                label=wish.label if task.class_conditional else None,
                decoding=decoding,
                seed=wish.seed,
                callback_on_step_end=watch,
            )
            write_video(clip, made.video[0], config.fps, made.metadata[0])
        else:
            plan.run(pipe, clip, watch=watch)
        fps = Source.open(clip).fps
        write_video(folder / "side_by_side.mp4", side_by_side(panels_of(plan, frames_of(Source.open(clip)))), fps)
        told = {"wish": asdict(wish), **(read_metadata(clip) or {})}
        with written_whole(folder / "settings.json") as path:
            path.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
        sheet = folder / "steps.png" if shown else None
        if sheet:
            import_image().fromarray(steps_sheet(shown)).save(sheet)
        return Done(clip, folder / "side_by_side.mp4", sheet, folder / "settings.json", time.monotonic() - begun)
