"""`magvit shard`: clips in shards, for sets of many files."""

from dataclasses import dataclass
from pathlib import Path

from magvit.cli.shell import check_extra, check_folder, check_resume


@dataclass(frozen=True)
class Shard:
    """Store clips in shards: a few tar files, which train as the folder did.

    For example

        magvit shard --data CLIPS --output shards/clips --num-workers 8
        magvit train tokenizer folder --data shards/clips

    Work that was interrupted goes on with the same command.
    """

    data: Path
    """Folder of clips, classes in sub-folders; a list of clips, or what magvit data prepare wrote."""
    output: Path
    """Folder to be written or gone on with."""
    split: str | None = None
    """Of a set with splits: train, test, ...; without it, train."""
    short_side: int = 128
    """Shorter side of the stored videos."""
    clips_per_shard: int = 256
    """Clips in a file."""
    num_workers: int = 0
    """Processes that read and encode clips."""

    resume: bool = True
    """Go on with what the output folder holds; --no-resume refuses one in which work was begun."""

    def run(self) -> None:
        """Write the shards."""
        check_folder(self.output)
        check_resume(self.output, self.resume)
        check_extra("video", "av")
        from magvit.data.datasets import load_clips
        from magvit.data.shard_writer import write_shards
        from magvit.locks import locked

        manifest = load_clips(self.data, self.split or "train")
        if self.split:  # which a set without splits does not have
            manifest = manifest.split(self.split)
        with locked(self.output):
            index = write_shards(
                manifest,
                self.output,
                short_side=self.short_side,
                clips_per_shard=self.clips_per_shard,
                num_workers=self.num_workers,
            )
        left_out = len(manifest.records) - len(index)
        told = f"wrote {self.output}: {len(index)} clips in {len(index.shards)} shards"
        print(told + (f", {left_out} clips that cannot be read left out" if left_out else ""))
