"""The page in Chromium, as visitors see it; where gradio, playwright or Chromium is missing, skipped."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from magvit.video import write_video
from tiny_model import random_clip

pytest.importorskip("gradio")
pytest.importorskip("gradio_client")
playwright = pytest.importorskip("playwright.sync_api")
from e2e.test_page import serving  # noqa: E402

CHROMIUM = Path("/usr/bin/chromium")
pytestmark = [
    pytest.mark.skipif(not CHROMIUM.exists(), reason="there is no Chromium"),
    pytest.mark.filterwarnings("ignore"),  # gradio's own
]
ALONE = ("no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking")
ALONE += ("disable-component-update", "disable-sync")
CONTROLS = "button, input, textarea, select, a[href], [role=button]"
NAMED = {"button", "checkbox", "combobox", "link", "radio", "slider", "spinbutton", "textbox"}
SLOW = """
import sys, time
from magvit.cli import main
from magvit.serve import making
at_once = making.step_pictures
def slowly(*given):
    time.sleep(1)
    return at_once(*given)
making.step_pictures = slowly
sys.exit(main(sys.argv[1:]))
"""
"""`magvit` whose page shows a step in a second: there are 12, and time to press a button."""
CONTRASTS = """() => {
  const parse = c => { const n = c.match(/[\\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; };
  const over = (a, b) => [0, 1, 2].map(i => a[i] * a[3] + b[i] * (1 - a[3])).concat(1);
  const light = c => [0.2126, 0.7152, 0.0722].reduce((sum, w, i) => {
    const v = c[i] / 255; return sum + w * (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); }, 0);
  const behind = e => !e ? [255, 255, 255, 1] :
    over(parse(getComputedStyle(e).backgroundColor), behind(e.parentElement));
  const words = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
  while (words.nextNode()) {
    const e = words.currentNode.parentElement, text = words.currentNode.textContent.trim();
    if (!text || !e.checkVisibility({opacityProperty: true, visibilityProperty: true}) || !e.offsetWidth) continue;
    const ground = behind(e), [a, b] = [light(over(parse(getComputedStyle(e).color), ground)), light(ground)];
    found.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), text]);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("serve"), "--max-seconds", "3", "--per-minute", "200") as page:
        yield page.address


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with playwright.sync_playwright() as here:
        browser = here.chromium.launch(executable_path=str(CHROMIUM), args=[f"--{name}" for name in ALONE])
        yield browser
        browser.close()


class Visit:
    """A page that is open."""

    def __init__(self, browser: Any, address: str, **how: Any):
        self.page = browser.new_page(**how)
        self.page.set_default_timeout(30_000)
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(address)
        self.ready()

    def ready(self) -> None:
        self.page.wait_for_selector("#given img")

    def choose(self, task: str) -> None:
        self.page.get_by_label("Task", exact=True).click()
        self.page.get_by_role("option", name=task, exact=True).click()

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()

    def steps(self, number: int) -> None:
        self.press("Decoding ▼")
        self.page.get_by_label("number input for Steps").fill(str(number))

    def told(self, words: str) -> str:
        """What is told as soon as it holds some words."""
        self.page.locator("#state").filter(has_text=words).wait_for()
        return self.page.inner_text("#state")


@pytest.fixture
def visit(chromium: Any, served: str) -> Iterator[Visit]:
    visit = Visit(chromium, served, viewport={"width": 1280, "height": 900})
    yield visit
    assert visit.errors == []
    visit.page.close()


@pytest.mark.parametrize("task", ["Frame prediction", "Outpainting central", "Remove", "Panorama"])
def test_from_an_upload_to_a_playing_video(visit: Visit, tmp_path: Path, task: str) -> None:
    write_video(tmp_path / "mine.mp4", random_clip(16, 64, 64), 8)
    visit.choose(task)
    before = visit.page.get_attribute("#given img", "src")
    visit.page.set_input_files("input[type=file]", tmp_path / "mine.mp4")
    visit.page.wait_for_function("old => document.querySelector('#given img')?.src !== old", arg=before)
    visit.press("Make")
    visit.told("Done in")
    video = "document.querySelector('#result video')"
    visit.page.wait_for_function(f"{video}?.currentTime > 0.2 && !{video}.paused && {video}.loop")
    assert visit.page.locator("#steps img").count() == 2
    assert visit.page.locator("#files a[download]").count() == 4


def test_a_wrong_file_is_told_and_the_page_goes_on(visit: Visit, tmp_path: Path) -> None:
    (tmp_path / "words.mp4").write_text("no clip")
    visit.page.set_input_files("input[type=file]", tmp_path / "words.mp4")
    visit.told("Not done: words.mp4 ")
    visit.press("Extend")
    visit.told("Done in")


def test_buttons_show_what_is_given_to_them(visit: Visit) -> None:
    for name in ("Remove", "Extend", "Remove"):
        before = visit.page.get_attribute("#given img", "src")
        visit.press(name)
        visit.page.wait_for_function("old => document.querySelector('#given img')?.src !== old", arg=before)
        visit.told("Done in")


@pytest.mark.parametrize("button", ["Make", "Extend"])
def test_stop_and_a_reload_in_the_middle(chromium: Any, tmp_path: Path, button: str) -> None:
    with serving(tmp_path, program=("-c", SLOW)) as page:
        visit = Visit(chromium, page.address)
        visit.press(button)
        visit.told("Step ")
        visit.press("Stop")
        visit.told("Stopped.")
        visit.press(button)
        visit.told("Step ")
        visit.page.reload()
        visit.ready()
        visit.told("Choose what to make")
        visit.press("Make")
        visit.told("Done in")  # those before have ended: one is made at a time
        made = [path for path in page.files() if path.name == "result.mp4"]
        assert len([path for path in made if (path.parent / "side_by_side.mp4").exists()]) == 1  # the others are copies
        assert visit.errors == []
        visit.page.close()


def test_two_clicks_on_any_frames_are_the_box(visit: Visit) -> None:
    before = visit.page.get_attribute("#given img", "src")
    visit.choose("Inpainting central")
    visit.page.wait_for_function("old => document.querySelector('#given img').src !== old", arg=before)
    frames = visit.page.locator("#given img")
    size = frames.bounding_box()
    for across, down in ((0.10, 0.8), (0.25 + 0.20, 0.3)):
        frames.click(position={"x": across * size["width"], "y": down * size["height"]})
        if down == 0.8:
            visit.told("A corner of the box is at")
    visit.page.wait_for_function("document.querySelector('input[type=checkbox]').checked")
    sides = [
        int(visit.page.get_by_label(f"number input for Box: {side} side, in %").input_value())
        for side in ("left", "top", "right", "bottom")
    ]
    assert sides == pytest.approx([40, 30, 80, 80], abs=2)


def test_a_narrow_screen_is_not_scrolled_sideways(chromium: Any, served: str) -> None:
    visit = Visit(chromium, served, viewport={"width": 390, "height": 844})
    visit.choose("Remove")
    visit.press("Make")
    visit.told("Done in")
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 390
    assert visit.page.locator("#result video").bounding_box()["width"] > 300
    visit.page.close()


def test_all_controls_have_names_and_are_reached_by_the_keyboard(visit: Visit) -> None:
    visit.choose("Inpainting central")
    visit.press("Decoding ▼")
    visit.press("Make")
    visit.told("Done in")
    tree = visit.page.context.new_cdp_session(visit.page).send("Accessibility.getFullAXTree")["nodes"]
    nodes = [node for node in tree if not node["ignored"] and node["role"]["value"] in NAMED]
    assert len(nodes) > 30
    assert [node for node in nodes if not node.get("name", {}).get("value")] == []
    visit.page.evaluate("document.activeElement.blur()")
    for _ in range(80):
        visit.page.keyboard.press("Tab")
        visit.page.evaluate("document.activeElement.dataset.reached = 1")
    left = f"[...document.querySelectorAll('{CONTROLS}')].filter(e => e.checkVisibility() && !e.dataset.reached"
    left += " && !(e.type === 'radio' && !e.checked) && e.type !== 'file').map(e => e.outerHTML)"  # arrows; its button
    assert visit.page.evaluate(left) == []
    assert visit.page.locator("img:not([alt]), img[alt='']").count() == 0
    assert visit.page.evaluate("document.documentElement.lang") == "en"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_can_be_read(chromium: Any, served: str, scheme: str) -> None:
    """A contrast of 4.5, as WCAG AA asks of small print."""
    visit = Visit(chromium, served, color_scheme=scheme, viewport={"width": 1280, "height": 900})
    visit.choose("Inpainting central")
    visit.press("Decoding ▼")
    visit.press("Make")
    visit.told("Done in")
    visit.page.mouse.move(0, 0)
    visit.page.wait_for_timeout(500)  # colours that fade
    found = visit.page.evaluate(CONTRASTS)
    assert len(found) > 30
    assert [one for one in found if one[0] < 4.5] == []
    visit.page.close()
