"""`magvit benchmark`: how fast it is here."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from magvit.cli.shell import check_folder


@dataclass(frozen=True)
class Efficiency:
    """Time MAGVIT and what the paper compares it with: Figure 5, and costs of Table 6.

        magvit benchmark efficiency
        magvit benchmark efficiency --sizes 128 --methods magvit ar

    Random weights, 16 frames from a class. Writes efficiency.md, efficiency.json, and efficiency.png where matplotlib
    is installed. On a CPU some steps are timed and the table says how many; on a GPU all, with the best batch as well.
    """

    output: Path = Path("outputs/efficiency")
    """Folder for table, plot and numbers."""
    sizes: tuple[int, ...] = (64, 128, 256)
    """Heights and widths of the clips."""
    methods: tuple[str, ...] = ()
    """Some of magvit, maskgit-3d, maskgit-2d, maskvit, ar, diffusion; without it all."""
    size: Literal["b", "l"] = "b"
    """Of the networks."""
    precision: Literal["bfloat16", "float32"] = "bfloat16"
    """Of weights and arithmetic."""
    compile: bool = False
    """Compile the masked transformers and the decoders (torch.compile), as MagvitPipeline.compile does."""
    repeats: int = 2
    """Calls of each, of which the quickest counts."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps, ..."""

    def run(self) -> None:
        """Measure, print and write."""
        check_folder(self.output)
        from datetime import date

        from magvit.benchmark.clock import machine
        from magvit.benchmark.efficiency import Bench, ceilings, rows
        from magvit.benchmark.methods import FRAMES, METHODS
        from magvit.benchmark.report import Report
        from magvit.device import keep_freed_memory, usable_device, usable_dtype

        if unknown := [name for name in self.methods if name not in METHODS]:
            raise ValueError(f"unknown method {unknown[0]!r}, expected some of {', '.join(METHODS)}")
        least = 2 if self.compile else 1  # the first call compiles
        if self.repeats < least:
            raise ValueError(f"repeats is {self.repeats}, expected at least {least}")
        if not self.sizes:
            raise ValueError("sizes are none, expected at least one")
        bench = Bench(usable_device(self.device), self.size, usable_dtype(self.precision), self.repeats, self.compile)
        for pixels in self.sizes:
            bench.tokenizer("3dvq", pixels).latent_shape((FRAMES, pixels, pixels))
        keep_freed_memory()
        about = machine(bench.device) | {"precision": self.precision, "compiled": self.compile}
        about["date"] = str(date.today())
        alone = bench.device.type == "cpu" and about["threads"] == 1
        about |= {"size": self.size, "clock": "processor time" if alone else "time of day"}
        best, found = ceilings(bench), []
        for row in rows(bench, self.methods or tuple(METHODS), self.sizes):
            found.append(row)
            seconds = f"{row.frame_seconds:.3g} s a frame" if row.frame_seconds else row.note
            print(f"{row.method} {row.pixels}x{row.pixels}, batch {row.batch}: {seconds}", flush=True)
        report = Report(tuple(found), best, about)
        report.save(self.output)
        print(f"\n{report.markdown()}\nwrote {self.output}")
