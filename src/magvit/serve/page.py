"""The page: what can be chosen, the steps while they are made, and the result. What is done is in `making`."""

import shutil
import threading
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import gradio

from magvit.serve.looks import figure, said
from magvit.serve.making import Step, Tell, Workshop
from magvit.serve.pictures import GAP, Clip, beside, given_of, moments
from magvit.serve.uploads import SUFFIXES, check_upload, taken
from magvit.serve.visitors import Rate
from magvit.serve.wishes import APPLICATIONS, MOST_SECONDS, WORKS, Wish, decoding_of, plan_of, works_of
from magvit.video import Source

FIRST = "Choose what to make, then press Make."
SHADOW = 0.45
"""So much of what is not given is seen below the stripes."""
BOX = (20, 15, 70, 60)
"""Left, top, right and bottom at first, in percent: around what is pushed in the first drawn clip."""
SIDES = ("left", "top", "right", "bottom")


def build(shop: Workshop, samples: Mapping[str, Source], tell: Tell) -> gradio.Blocks:
    """The page of a model, not yet shown.

    Args:
        shop: makes what is wanted.
        samples: clips that can be chosen.
        tell: what is said of errors.
    """
    page = _Page(shop, samples, tell)
    with gradio.Blocks(title="MAGVIT", analytics_enabled=False) as blocks, gradio.Column(elem_id="magvit"):
        page.lay_out()
        page.connect(blocks)
    return blocks


class _Page:
    """Controls and what they do. A method that answers a visitor gets the values of `self.chosen` in their order."""

    def __init__(self, shop: Workshop, samples: Mapping[str, Source], tell: Tell):
        self.shop, self.samples, self.tell, self.config = shop, samples, tell, shop.pipe.config
        self.works = works_of(self.config)
        self.first = next((name for name in ("frame_prediction",) if name in self.works), self.works[0])
        self.rate = Rate(shop.limits.per_minute)
        self.drawn = next(iter(samples.values()))
        self.looking = threading.BoundedSemaphore(2)  # frames of uploads that are decoded at a time

    # --- What is seen ------------------------------------------------------------------------------------------------

    def lay_out(self) -> None:
        """All controls."""
        origin = self.shop.pipe.origin.get("model", "a model")
        gradio.Markdown(
            "# MAGVIT\nVideo by filling in masked tokens. Choose a task, take a drawn clip or send your own, "
            f"and watch {origin} fill it. What you send stays in a folder of this page for "
            f"{self.shop.limits.kept / 60:g} minutes at most."
        )
        self.gallery = self._gallery()
        with gradio.Row():
            with gradio.Column(scale=2, min_width=320):
                self._choices()
            with gradio.Column(scale=3, min_width=320):
                self._results()

    def _gallery(self) -> dict[str, gradio.Button]:
        """A card for each application: what is given, and a button that makes the rest of it."""
        buttons = {}
        with gradio.Row():
            for name in (name for name in self.works if name in APPLICATIONS):
                work = WORKS[name]
                given = self._given(Wish(name, box=_box(name, True, BOX)), self.drawn)
                cells = max(round(4 * given.shape[2] / given.shape[3]), 1)
                with gradio.Column(min_width=140):
                    about = f"Of a drawn clip is made what is hatched. {work.about}"
                    gradio.HTML(figure(work.about, about, beside(moments(given, cells))))
                    buttons[name] = gradio.Button(work.title, size="sm")
        return buttons

    def _choices(self) -> None:
        work, decoding = WORKS[self.first], decoding_of(self.config, Wish(self.first))
        titles = [(f"{WORKS[name].title}", name) for name in self.works]
        self.work = gradio.Dropdown(titles, value=self.first, label="Task", info=work.about, filterable=False)
        with gradio.Column(visible=work.task.needs_video) as self.given:
            names = list(self.samples)
            self.sample = gradio.Radio(names, value=names[0], label="Drawn clip", info="Used if none of yours is there")
            self.clip = gradio.File(
                label=f"Your clip or photo, up to {self.shop.limits.megabytes:g} MB and {self.shop.limits.seconds:g} s",
                file_types=list(SUFFIXES),
                height=150,
            )
            self.start = gradio.Number(0, label="Start in seconds", minimum=0)
        self.seconds = gradio.Slider(0.25, MOST_SECONDS, 1, step=0.25, label="Seconds to add", visible=work.has_seconds)
        with gradio.Column(visible=work.has_box) as self.region:
            self.own = gradio.Checkbox(
                False,
                label="A box of your own",
                info="Click two corners on a frame, or move the sliders. Outpainting keeps it, the others make it.",
            )
            self.box = [
                gradio.Slider(0, 100, at, step=1, label=f"Box: {side} side, in %")
                for side, at in zip(SIDES, BOX, strict=True)
            ]
        classes = list(self.config.classes)
        self.label = gradio.Dropdown(
            classes, value=next(iter(classes), None), label="Class", visible=work.task.class_conditional
        )
        with gradio.Accordion("Decoding", open=False):
            self.steps = gradio.Slider(1, 64, decoding.num_steps, step=1, label="Steps")
            self.temperature = gradio.Slider(0, 2, decoding.temperature, step=0.05, label="Temperature")
            self.guidance = gradio.Slider(0, 10, decoding.guidance_scale, step=0.25, label="Guidance")
            self.seed = gradio.Number(0, label="Seed", precision=0, minimum=0)

    def _results(self) -> None:
        self.frames = gradio.Image(
            label="What is given, at four times; hatched is made",
            alt_text="Frames at four times of the clip, hatched where they are made",
            elem_id="given",
            interactive=False,
            buttons=[],
        )
        with gradio.Row():
            self.go = gradio.Button("Make", variant="primary", elem_id="make")
            self.stop = gradio.Button("Stop")
        self.state = gradio.HTML(said(FIRST), elem_id="state")
        self.result = gradio.Video(
            label="Result",
            elem_id="result",
            autoplay=True,
            loop=True,
            interactive=False,
            buttons=["download"],
        )
        self.watched = gradio.HTML(elem_id="steps")
        self.files = gradio.File(
            label="Download: clip, side by side, steps, settings",
            elem_id="files",
            interactive=False,
            file_count="multiple",
        )

    # --- What happens ------------------------------------------------------------------------------------------------

    def connect(self, blocks: gradio.Blocks) -> None:
        """Which control does what."""
        self.cell, self.corner = gradio.State((1, 1)), gradio.State(None)
        given = [self.work, self.clip, self.sample, self.start, self.own, *self.box]
        self.chosen = [*given, self.seconds, self.label, self.steps, self.temperature, self.guidance, self.seed]
        at_once: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
        decoding = [self.steps, self.temperature, self.guidance]
        fitting = [self.work, self.given, self.seconds, self.region, self.own, self.label, *decoding]
        self.work.input(self.fit, self.work, fitting, **at_once)
        seen = [self.frames, self.cell, self.state]
        gradio.on(
            [blocks.load, *(control.change for control in given)],
            self.look,
            given,
            seen,
            trigger_mode="always_last",
            **at_once,
        )
        clicked = [self.corner, self.state, self.own, *self.box]
        self.frames.select(self.click, [self.work, self.cell, self.corner], clicked, **at_once)
        shown = [self.state, self.result, self.watched, self.files]
        how: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "model", "show_progress": "minimal"}
        how["trigger_mode"] = "multiple"  # "once" would drop a press after Stop until the step at work has ended
        runs = [self.go.click(self.make, self.chosen, shown, api_name="make", **how)]
        for name, button in self.gallery.items():
            prepared = button.click(
                lambda name=name: [*self.fit(name), None, next(iter(self.samples)), 0, WORKS[name].needs_box, *BOX],
                None,
                [*fitting, *given[1:]],
                **at_once,
            ).then(self.look, given, seen, **at_once)  # the changes above may be looked at while half of them are made
            runs.append(
                prepared.then(self.make, self.chosen, shown, scroll_to_output=True, api_visibility="private", **how)
            )
        self.stop.click(lambda: said("Stopped."), None, self.state, cancels=runs, **at_once)

    def fit(self, name: str) -> list[Any]:
        """What fits a task is seen, and its decoding is the model's own."""
        work, decoding = WORKS[name], decoding_of(self.config, Wish(name))
        return [
            gradio.update(value=name, info=work.about),
            gradio.update(visible=work.task.needs_video),
            gradio.update(visible=work.has_seconds),
            gradio.update(visible=work.has_box),
            gradio.update(visible=not work.needs_box),
            gradio.update(visible=work.task.class_conditional),
            decoding.num_steps,
            decoding.temperature,
            decoding.guidance_scale,
        ]

    def look(self, name: str, clip: str | None, sample: str, start: Any, own: bool, *box: Any) -> tuple[Any, ...]:
        """What is given, and the size of each of its frames."""
        if not WORKS[name].task.needs_video:
            return None, (1, 1), said(FIRST)
        try:
            wish = Wish(name, start=_number("start", start), box=_box(name, own, box))
            frames = moments(self._given(wish, self._source(clip, sample)))
        except Exception as error:
            return None, (1, 1), self._failed(error)
        return beside(frames), frames.shape[2:], said(FIRST)

    def click(self, name: str, cell: tuple[int, int], corner: Any, event: gradio.SelectData) -> tuple[Any, ...]:
        """A corner of the box, on whichever frame; the second one makes it the box."""
        if not WORKS[name].has_box:
            return None, *[gradio.skip()] * 6
        (x, y), (height, width) = event.index, cell
        at = [min(round(100 * place / side), 100) for place, side in ((x % (width + GAP), width), (y, height))]
        if corner is None:
            told = f"A corner of the box is at {at[0]} % and {at[1]} %. Click the opposite one."
            return at, said(told), *[gradio.skip()] * 5
        (left, right), (top, bottom) = (sorted(pair) for pair in zip(corner, at, strict=True))
        return None, gradio.skip(), True, left, top, right, bottom

    def make(self, request: gradio.Request, *chosen: Any) -> Iterator[tuple[Any, ...]]:
        """Steps, then the result."""
        name, clip, sample, start, own, *box = chosen[:9]
        seconds, label, steps, temperature, guidance, seed = chosen[9:]
        keep = gradio.skip()
        try:
            if not self.rate.allows(request.client.host if request.client else ""):
                raise ValueError(f"more than {self.rate.per_minute} results in a minute: wait a little")
            wish = Wish(
                work=name,
                start=_number("start", start),
                seconds=_number("seconds", seconds),
                box=_box(name, own, box),
                label=label,
                num_steps=int(_number("steps", steps)),
                temperature=_number("temperature", temperature),
                guidance_scale=_number("guidance", guidance),
                seed=int(_number("seed", seed)),
            )
            source = self._source(clip, sample) if WORKS[name].task.needs_video else None
            yield said("It is being made."), None, "", None
            for item in self.shop.make(wish, source):
                if isinstance(item, Step):
                    told = f"Step {item.number} of {item.total}: {item.share:.0%} of the tokens are fixed."
                    yield said(told), keep, _figures(item), keep
                else:
                    files = [str(path) for path in (item.clip, item.sides, item.steps, item.settings) if path]
                    yield said(f"Done in {item.seconds:.1f} seconds."), str(item.sides), keep, files
        except Exception as error:
            yield self._failed(error), keep, keep, keep

    def _source(self, clip: str | None, sample: str) -> Source:
        """The clip of a visitor, or a drawn one."""
        return check_upload(Path(clip), self.shop.limits) if clip else self.samples[sample]

    def _given(self, wish: Wish, source: Source) -> Clip:
        """What is given of what is worked on, the rest hatched."""
        with self.looking:
            folder = Path(mkdtemp(dir=self.shop.folder))
            try:
                frames = taken(self.config, source, wish.start, folder / "given", wish.work == "animate")
                return given_of(plan_of(self.config, wish, frames), SHADOW)
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def _failed(self, error: Exception) -> str:
        told = self.tell(error)
        if told is None:
            traceback.print_exception(error)
            told = "something went wrong on the machine that serves this page, which has written it to its log"
        return said(f"Not done: {told}.")


def _box(name: str, own: bool, sides: Any) -> str | None:
    """Sides in percent as a region, if there is one."""
    if not WORKS[name].has_box or not (own or WORKS[name].needs_box):
        return None
    return ",".join(f"{_number('box', side) / 100:g}" for side in sides)


def _number(name: str, value: Any) -> float | int:
    if not isinstance(value, int | float):
        raise ValueError(f"{name} is empty, expected a number")
    return value


def _figures(step: Step) -> str:
    """A step as in Figure 3 of the paper."""
    so_far = figure("The clip so far, at four times", "Frames decoded after this step", step.picture)
    told = "Its tokens: dark are open, light are fixed, orange were fixed by this step"
    return so_far + figure(told, f"A map of the tokens; {step.share:.0%} are fixed", step.tokens)
