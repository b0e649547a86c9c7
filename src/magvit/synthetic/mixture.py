"""Clips of several synthetic sets that take turns."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch.utils.data import Dataset

from magvit.shapes import Clip
from magvit.synthetic.world import World


class Mixture(Dataset[Clip]):
    """Clip i is of the set `names[i % len(names)]`: one that is named twice has twice the share.

    Each set's clips come in its own order, none left out. Only those of the first set have classes; the label of the
    others is -1.
    """

    noun = "synthetic clip"

    def __init__(self, names: Sequence[str], sets: Mapping[Any, World]):
        self.names, self.sets = tuple(names), sets
        self.classes = sets[self.names[0]].classes

    def __getitem__(self, index: int) -> Clip:
        turn, place = divmod(index, len(self.names))
        name = self.names[place]
        clip = self.sets[name][turn * self.names.count(name) + self.names[:place].count(name)]
        return {"video": clip["video"], "label": clip["label"] if name == self.names[0] else -1, "index": index}
