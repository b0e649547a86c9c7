"""What was measured as a table, a plot and JSON, with the published speeds beside it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from magvit.benchmark.methods import FRAMES, METHODS, Row
from magvit.costs import readable
from magvit.storage import write_report

PUBLISHED = (
    ("MAGVIT-B, one V100", 128, 37.0),
    ("MAGVIT-B, one TPUv4i", 128, 190.0),
    ("MAGVIT-L, one TPUv4i", 128, 65.0),
)
"""Frames a second of the paper's section 4.3, and the pixels they are of."""
PUBLISHED_RATIOS = (
    "autoregressive, same size, 1,024 steps: 60 times slower than MAGVIT",
    "MaskViT, 4,096 tokens, 18 steps: 4 to 16 times slower",
    "Video Diffusion, 3D U-Net at 64x64, 256 to 1,000 steps: two orders of magnitude slower",
)


@dataclass(frozen=True)
class Report:
    """All rows of one run.

    Attributes:
        rows: as measured.
        ceilings: FLOP/s of one matrix product and one convolution, alone.
        machine: what it was measured on, when, and how.
    """

    rows: tuple[Row, ...]
    ceilings: Mapping[str, float]
    machine: Mapping[str, Any]

    def save(self, folder: Path) -> None:
        """Write efficiency.json, efficiency.md, and efficiency.png where matplotlib is installed."""
        values = {
            "machine": self.machine,
            "ceilings": self.ceilings,
            "rows": [asdict(row) | {"frame_seconds": row.frame_seconds} for row in self.rows],
            "published": {"fps": PUBLISHED, "ratios": PUBLISHED_RATIOS},
        }
        names = "efficiency.json", "efficiency.md", "efficiency.png"
        write_report(folder, names, values, self.markdown(), partial(plot, self))

    def times_ours(self, row: Row) -> float | None:
        """How many times longer than MAGVIT of the same pixels and batch; None where either is not known."""
        ours = [
            other.frame_seconds
            for other in self.rows
            if (other.method, other.pixels, other.batch) == ("magvit", row.pixels, row.batch)
        ]
        return row.frame_seconds / ours[0] if ours and ours[0] and row.frame_seconds else None

    def markdown(self) -> str:
        """The table, and below it what it was measured on and what was published."""
        best = ", ".join(f"{kind} {readable(rate)}/s" for kind, rate in self.ceilings.items())
        about = ", ".join(f"{name} {value}" for name, value in self.machine.items())
        heads = (
            "method | pixels | batch | tokens | steps | FLOP a clip: pixels | network | s a frame: pixels | network | "
            "sum | fps | times MAGVIT | share of ceiling: pixels | network | peak | not run"
        )
        lines = [f"| {heads} |", "|---|" + "---:|" * 14 + "---|", *map(self._line, self.rows), ""]
        lines += [f"{about}. Ceilings, each alone: {best}. FLOP are the model's own, by `magvit presets --cost`.", ""]
        lines += [f"Published: {name} {fps:g} fps at {pixels}x{pixels}." for name, pixels, fps in PUBLISHED]
        return "\n".join([*lines, *(f"Published: {sentence}." for sentence in PUBLISHED_RATIOS), ""])

    def _line(self, row: Row) -> str:
        known, times = row.frame_seconds, self.times_ours(row)
        parts = [(row.pixel_flops, row.pixel_seconds, "conv")]
        parts += [(row.network_flops or 0, row.network_seconds or 0.0, "matmul")]
        cells = [METHODS[row.method].title, row.pixels, row.batch, f"{row.sequence:,}" if row.sequence else ""]
        cells += [f"{row.steps:,}", *(readable(flops) if flops else "" for flops, _, _ in parts)]
        cells += [f"{seconds / FRAMES:.3g}" if seconds else "" for _, seconds, _ in parts]
        cells += [f"{known:.3g}", f"{1 / known:.3g}"] if known else ["", ""]
        cells += [f"{times:.2f}" if times else ""]
        cells += [f"{flops / seconds / self.ceilings[best]:.0%}" if seconds else "" for flops, seconds, best in parts]
        cells += [f"{row.peak / 1e6:,.0f} MB" if row.peak else "", row.note]
        return f"| {' | '.join(map(str, cells))} |"


def plot(report: Report, path: Path) -> None:
    """As Figure 5: seconds a frame of each method over the pixels, and MAGVIT's own split in its two parts."""
    from matplotlib import pyplot

    single = [row for row in report.rows if row.batch == 1 and row.frame_seconds]
    sizes = sorted({row.pixels for row in single})
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.6), width_ratios=(3, 2), constrained_layout=True)
    for number, name in enumerate(dict.fromkeys(row.method for row in single)):
        points = sorted((row.pixels, row.frame_seconds) for row in single if row.method == name)
        width = 5 if name == "magvit" else 1.5  # it shows behind what is as quick
        left.plot(*zip(*points, strict=True), "o-", color=f"C{number}", lw=width, label=METHODS[name].title)
    for number, (name, pixels, fps) in enumerate(PUBLISHED):
        left.plot(pixels, 1 / fps, marker="s^v"[number], mfc="none", color="grey", ls="", label=f"published: {name}")
    left.set(xscale="log", yscale="log", xlabel="pixels, height and width", ylabel="s a frame")
    left.set_xticks(sizes, [str(size) for size in sizes])
    left.minorticks_off()
    left.legend(fontsize=6)
    ours = sorted((row for row in single if row.method == "magvit"), key=lambda row: row.pixels)
    below = [0.0] * len(ours)
    for part, label in (("pixel_seconds", "3D-VQ"), ("network_seconds", "transformer")):
        heights = [getattr(row, part) / FRAMES for row in ours]
        right.bar([str(row.pixels) for row in ours], heights, bottom=below, label=label, width=0.5)
        below = [low + height for low, height in zip(below, heights, strict=True)]
    right.set(xlabel="pixels, height and width", ylabel="s a frame", title="MAGVIT")
    right.legend(fontsize=7)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
