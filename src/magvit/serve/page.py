"""The page: what can be chosen, the steps while they are made, and the result. What is done is in `making`."""

import html
import shutil
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import gradio

from magvit.serve.making import Step, Workshop
from magvit.serve.pictures import Picture, frames_of, known_at_first, marked
from magvit.serve.uploads import SUFFIXES, check_upload, taken
from magvit.serve.visitors import Rate
from magvit.serve.wishes import APPLICATIONS, MOST_SECONDS, WORKS, Wish, decoding_of, plan_of, works_of
from magvit.video import Source

Tell = Callable[[BaseException], str | None]
"""One sentence for a visitor's error, None for a bug."""
FIRST = "Choose what to make, then press Make."
CSS = """
#magvit { max-width: 1200px; margin: 0 auto; }
#state { font-weight: 600; min-height: 1.5em; }
#frame img, #picture img, #tokens img { image-rendering: pixelated; }
"""
JS = """() => {
  document.documentElement.lang = 'en';
  const state = document.getElementById('state');
  if (state) { state.setAttribute('role', 'status'); state.setAttribute('aria-live', 'polite'); }
}"""


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
        sample = next(iter(self.samples.values()))
        with gradio.Row():
            for name in (name for name in self.works if name in APPLICATIONS):
                work = WORKS[name]
                with gradio.Column(min_width=160):
                    gradio.Image(
                        self._frame(Wish(name, box=BOX if work.has_box else None), sample),
                        label=work.title,
                        alt_text=f"A drawn clip, from which is made what is hatched. {work.about}",
                        show_label=False,
                        buttons=[],
                        interactive=False,
                    )
                    gradio.Markdown(work.about)
                    buttons[name] = gradio.Button(f"{work.title} a drawn clip", size="sm")
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
                height=110,
            )
            self.start = gradio.Number(0, label="Start in seconds", minimum=0)
            self.frame = gradio.Image(
                label="What is given; hatched is made",
                alt_text="The first frame, what is made of it hatched",
                elem_id="frame",
                interactive=False,
                buttons=[],
                height=300,
            )
        self.seconds = gradio.Slider(0.25, MOST_SECONDS, 1, step=0.25, label="Seconds to add", visible=work.has_seconds)
        with gradio.Column(visible=work.has_box) as self.region:
            self.own = gradio.Checkbox(
                False,
                label="A box of your own",
                info="Click two corners on the frame, or move the sliders. Outpainting keeps it, the others make it.",
            )
            sides = zip(("left", "top", "right", "bottom"), (25, 25, 60, 60), strict=True)
            self.box = [gradio.Slider(0, 100, at, step=1, label=f"Box: {side} side, in %") for side, at in sides]
        classes = list(self.config.classes)
        self.label = gradio.Dropdown(
            classes, value=next(iter(classes), None), label="Class", visible=work.task.class_conditional
        )
        with gradio.Accordion("Decoding", open=False):
            self.steps = gradio.Slider(1, 64, decoding.num_steps, step=1, label="Steps")
            self.temperature = gradio.Slider(0, 2, decoding.temperature, step=0.05, label="Temperature")
            self.guidance = gradio.Slider(0, 10, decoding.guidance_scale, step=0.25, label="Guidance")
            self.seed = gradio.Number(0, label="Seed", precision=0, minimum=0)
        with gradio.Row():
            self.go = gradio.Button("Make", variant="primary", elem_id="make")
            self.stop = gradio.Button("Stop")

    def _results(self) -> None:
        self.state = gradio.HTML(_said(FIRST), elem_id="state")
        still: dict[str, Any] = {"interactive": False, "buttons": ["fullscreen"]}
        self.picture = gradio.Image(
            label="The clip so far, at four times",
            alt_text="Frames decoded after this step",
            elem_id="picture",
            **still,
        )
        self.tokens = gradio.Image(
            label="Its tokens: dark are open, light are fixed, orange were fixed by this step",
            alt_text="A map of the tokens that are fixed after this step",
            elem_id="tokens",
            **still,
        )
        self.result = gradio.Video(
            label="Given, made and original, side by side",
            elem_id="result",
            autoplay=True,
            loop=True,
            interactive=False,
            buttons=["download"],
        )
        self.files = gradio.File(
            label="Download: clip, side by side, steps, settings", interactive=False, file_count="multiple"
        )

    # --- What happens ------------------------------------------------------------------------------------------------

    def connect(self, blocks: gradio.Blocks) -> None:
        """Which control does what."""
        self.size, self.corner = gradio.State((1, 1)), gradio.State(None)
        given = [self.work, self.clip, self.sample, self.start, self.own, *self.box]
        self.chosen = [*given, self.seconds, self.label, self.steps, self.temperature, self.guidance, self.seed]
        at_once: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
        decoding = [self.steps, self.temperature, self.guidance]
        fitting = [self.work, self.given, self.seconds, self.region, self.own, self.label, *decoding]
        self.work.input(self.fit, self.work, fitting, **at_once)
        gradio.on(
            [blocks.load, *(control.change for control in given)],
            self.look,
            given,
            [self.frame, self.size, self.state],
            trigger_mode="always_last",
            **at_once,
        )
        self.frame.select(self.click, [self.size, self.corner], [self.corner, self.own, *self.box], **at_once)
        shown = [self.state, self.picture, self.tokens, self.result, self.files]
        how: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "model", "show_progress": "minimal"}
        runs = [self.go.click(self.make, self.chosen, shown, scroll_to_output=True, api_name="make", **how)]
        for name, button in self.gallery.items():
            prepared = button.click(
                lambda name=name: [*self.fit(name), None, WORKS[name].needs_box],
                None,
                [*fitting, self.clip, self.own],
                **at_once,
            )
            runs.append(
                prepared.then(self.make, self.chosen, shown, scroll_to_output=True, api_visibility="private", **how)
            )
        self.stop.click(lambda: _said("Stopped."), None, self.state, cancels=runs, **at_once)

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
        """The frame that is given, and its size."""
        if not WORKS[name].task.needs_video:
            return None, (1, 1), _said(FIRST)
        try:
            wish = Wish(name, start=_number("start", start), box=_box(name, own, box))
            picture = self._frame(wish, self._source(clip, sample))
        except Exception as error:
            return None, (1, 1), self._failed(error)
        return picture, picture.shape[:2], _said(FIRST)

    def click(self, size: tuple[int, int], corner: Any, event: gradio.SelectData) -> tuple[Any, ...]:
        """A corner of the box; the second one makes it the box."""
        at = [min(round(100 * place / side), 100) for place, side in zip(event.index, reversed(size), strict=True)]
        if corner is None:
            return at, *[gradio.skip()] * 5
        (left, right), (top, bottom) = (sorted(pair) for pair in zip(corner, at, strict=True))
        return None, True, left, top, right, bottom

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
            yield _said("It is being made."), None, None, None, None
            for item in self.shop.make(wish, source):
                if isinstance(item, Step):
                    told = f"Step {item.number} of {item.total}: {item.share:.0%} of the tokens are fixed."
                    yield _said(told), item.picture, item.tokens, keep, keep
                else:
                    files = [str(path) for path in (item.clip, item.sides, item.steps, item.settings) if path]
                    yield _said(f"Done in {item.seconds:.1f} seconds."), keep, keep, str(item.sides), files
        except Exception as error:
            yield self._failed(error), keep, keep, keep, keep

    def _source(self, clip: str | None, sample: str) -> Source:
        """The clip of a visitor, or a drawn one."""
        return check_upload(Path(clip), self.shop.limits) if clip else self.samples[sample]

    def _frame(self, wish: Wish, source: Source) -> Picture:
        """The first frame of what is worked on, and what of it is given."""
        with self.looking:
            folder = Path(mkdtemp(dir=self.shop.folder))
            try:
                frames = taken(self.config, source, wish.start, folder / "given", wish.work == "animate")
                plan = plan_of(self.config, wish, frames)
                return marked(frames_of(frames)[:, 0], known_at_first(plan))
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def _failed(self, error: Exception) -> str:
        told = self.tell(error)
        if told is None:
            traceback.print_exception(error)
            told = "something went wrong on the machine that serves this page, which has written it to its log"
        return _said(f"Not done: {told}.")


BOX = "0.25,0.25,0.6,0.6"


def _box(name: str, own: bool, sides: Any) -> str | None:
    """Sides in percent as a region, if there is one."""
    if not WORKS[name].has_box or not (own or WORKS[name].needs_box):
        return None
    return ",".join(f"{_number('box', side) / 100:g}" for side in sides)


def _number(name: str, value: Any) -> float | int:
    if not isinstance(value, int | float):
        raise ValueError(f"{name} is empty, expected a number")
    return value


def _said(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"
