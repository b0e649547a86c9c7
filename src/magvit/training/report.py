"""`report.html` of a run folder: last values, warnings, samples and config in one file that opens without a server.

Curves are TensorBoard's: `tensorboard --logdir RUN`.
"""

import base64
import json
import math
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from magvit import storage
from magvit.storage import written_whole
from magvit.training.log import EVALUATIONS, METRICS, WARNINGS, read_records

REPORT = "report.html"
EMBEDDED_BYTES = 8 * 2**20
"""Samples are put into the file up to this size, the newest first; the others are linked."""
SAMPLES_OF_A_NAME = 12

STYLE = """
:root { --page: #fcfcfb; --card: #fff; --ink: #1c1b19; --quiet: #6b6a65; --rule: #e4e3de; --bar: #2a78d6;
  --warning: #9a6700; --error: #c62f2b; color-scheme: light; }
@media (prefers-color-scheme: dark) { :root { --page: #161615; --card: #20201e; --ink: #f0efec; --quiet: #a3a29c;
  --rule: #383733; --bar: #5b9dec; --warning: #e0ac3b; --error: #f2716c; color-scheme: dark; } }
* { box-sizing: border-box; }
body { background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; margin: 0 auto;
  max-width: 1320px; padding: 20px 16px 48px; }
h1 { font-size: 1.5rem; margin: 0; overflow-wrap: anywhere; } h2 { font-size: 1.1rem; margin: 32px 0 12px; }
h3 { font-size: .9rem; font-weight: 600; margin: 0 0 6px; } p { margin: 0 0 8px; }
.quiet, summary, figcaption { color: var(--quiet); }
.tiles, .grid { display: grid; gap: 12px; grid-template-columns: repeat(auto-fill, minmax(min(100%, 330px), 1fr)); }
.tiles { grid-template-columns: repeat(auto-fill, minmax(158px, 1fr)); margin-top: 16px; }
.tiles .card { overflow-wrap: anywhere; } .tiles span { font-size: .85rem; }
.card { background: var(--card); border: 1px solid var(--rule); border-radius: 8px; padding: 12px; min-width: 0; }
.tiles b { display: block; font-size: 1.25rem; font-weight: 600; font-variant-numeric: tabular-nums; }
progress { accent-color: var(--bar); height: 6px; width: 100%; }
ul { list-style: none; margin: 0; padding: 0; } li { border-left: 3px solid; margin: 0 0 8px; padding: 2px 12px; }
li.warning { border-color: var(--warning); } li.error { border-color: var(--error); }
li b { margin-right: 6px; } li.warning b { color: var(--warning); } li.error b { color: var(--error); }
img { border-radius: 4px; display: block; width: 100%; } .small { image-rendering: pixelated; }
figure { margin: 0 0 10px; } figcaption { font-size: .8rem; }
pre { font-size: .8rem; overflow-x: auto; } summary { cursor: pointer; }
"""


def write_report(run_folder: Path) -> Path:
    """Write `report.html` into a run folder, from what lies there, and return its path. Any part may be missing.

    Raises:
        OSError: the folder is not there or cannot be written.
    """
    if not run_folder.is_dir():
        raise FileNotFoundError(f"{run_folder} is not a run folder")
    try:
        config: dict[str, Any] = storage.load_config(run_folder)
    except (FileNotFoundError, ValueError):
        config = {}
    lines = read_records(run_folder / METRICS)
    name = escape(run_folder.resolve().name)
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width, initial-scale=1'>",
        f"<title>{name}</title><style>{STYLE}</style><h1>{name}</h1>",
        _tiles(lines, read_records(run_folder / EVALUATIONS), config),
        _findings(read_records(run_folder / WARNINGS)),
        _samples(run_folder),
    ]
    if config:
        shown = escape(json.dumps(config, indent=2))
        parts.append(f"<h2>Config</h2><details class=card><summary>config.json</summary><pre>{shown}</pre></details>")
    path = run_folder / REPORT
    with written_whole(path) as temporary:
        temporary.write_text("\n".join(parts) + "</html>\n", encoding="utf-8")
    return path


def _tiles(lines: Sequence[dict[str, Any]], evaluations: Sequence[dict[str, Any]], config: dict[str, Any]) -> str:
    """Where the run stands, and the last value of all that it logs."""
    if not lines:
        return "<p class=quiet>Nothing is logged yet.</p>"
    loop = config.get("loop")
    loop = loop if isinstance(loop, dict) else {}
    step, num_steps = _text(lines[-1], "step", ","), _text(loop, "num_steps", ",")
    stage = "Stage 2, transformer" if "tasks" in config else "Stage 1, tokenizer" if config else ""
    done, total = lines[-1].get("step"), loop.get("num_steps")
    known = isinstance(done, int) and isinstance(total, int)
    bar = f"<progress value={done} max={total}></progress>" if known else ""
    of = f"<span class=quiet> of {num_steps}</span>" if num_steps else ""
    tiles = [f"<div class=card><span class=quiet>step</span><b>{step}</b>{of}{bar}</div>"]
    values = {name: value for line in (*lines[-1:], *evaluations) for name, value in line.items() if name != "step"}
    for name in values:
        tiles.append(
            f"<div class=card><span class=quiet>{escape(name)}</span><b>{_text(values, name, '.4g')}</b></div>"
        )
    return f"<p class=quiet>{stage}</p><div class=tiles>{''.join(tiles)}</div>"


def _text(record: dict[str, Any], name: str, form: str = "") -> str:
    """A field of a record, as text of the page or in the quotes of an attribute; numbers in a given form."""
    value = record.get(name, "")
    return f"{value:{form}}" if isinstance(value, int | float) else escape(str(value))


def _findings(records: Sequence[dict[str, Any]]) -> str:
    if not records:
        return ""
    items = [
        f"<li class='{kind}'><b>{kind}</b>step {_text(record, 'step')}: {_text(record, 'message')}</li>"
        for record in records
        for kind in [_text(record, "severity")]
    ]
    return f"<h2>Warnings</h2><ul>{''.join(items)}</ul>"


def _samples(run_folder: Path) -> str:
    """The newest sample of each name, with those before it behind a click."""
    by_name: dict[str, list[Path]] = {}
    for path in sorted((run_folder / "samples").glob("*_*.gif"), key=_step_of):
        by_name.setdefault(path.stem.rpartition("_")[0], []).append(path)
    if not by_name:
        return ""
    by_name = {name: _spread(paths) for name, paths in sorted(by_name.items())}
    newest_first = sorted((path for paths in by_name.values() for path in paths), key=_step_of, reverse=True)
    newest_first.sort(key=lambda path: path not in {paths[-1] for paths in by_name.values()})
    sources, used = {}, 0
    for path in newest_first:
        sources[path] = escape(quote(f"samples/{path.name}"))
        size = math.ceil(path.stat().st_size / 3) * 4
        if used + size <= EMBEDDED_BYTES:
            used += size
            sources[path] = "data:image/gif;base64," + base64.b64encode(path.read_bytes()).decode()
    cards = []
    for name, paths in by_name.items():
        earlier = "".join(_figure(path, sources[path]) for path in reversed(paths[:-1]))
        more = f"<details><summary>{len(paths) - 1} earlier</summary>{earlier}</details>" if earlier else ""
        parts = "video, reconstruction" if name == "reconstruction" else "video, what is given, result"
        newest = _figure(paths[-1], sources[paths[-1]])
        cards.append(f"<div class=card><h3>{escape(name)}</h3><p class=quiet>{parts}</p>{newest}{more}</div>")
    return f"<h2>Samples</h2><div class=grid>{''.join(cards)}</div>"


def _figure(path: Path, source: str) -> str:
    with open(path, "rb") as file:
        width = int.from_bytes(file.read(10)[6:8], "little")
    style = " class=small" if width < 330 else ""
    caption = f"<figcaption>step {_step_of(path):,}</figcaption>"
    return f'<figure><img{style} loading=lazy alt="" src="{source}">{caption}</figure>'


def _spread(paths: list[Path]) -> list[Path]:
    """At most `SAMPLES_OF_A_NAME`, evenly spaced, the first and the last among them."""
    if len(paths) <= SAMPLES_OF_A_NAME:
        return paths
    last = SAMPLES_OF_A_NAME - 1
    return [paths[round(i * (len(paths) - 1) / last)] for i in range(SAMPLES_OF_A_NAME)]


def _step_of(path: Path) -> int:
    digits = path.stem.rpartition("_")[2]
    return int(digits) if digits.isdecimal() else 0
