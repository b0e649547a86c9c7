"""Tokens of a set of clips, stored once, so that stage 2 never runs the tokenizer. Written by `magvit tokenize`.

A token cache is a folder:

    config.json                    what it holds and was made of (`TokenCacheConfig`)
    tokens_00000.safetensors ...   `entries_per_shard` draws each, the last file fewer:
        tokens       [n, t, h, w]     of the clip
        cond_tokens  [n, c, t, h, w]  of what each of the `c` conditions shows of it, -1 where that is nothing
        label        [n]              class number or -1
        index        [n]              number of the clip within its set

Entry `epoch * clips_per_epoch + index` is the draw `(epoch, index)` of `magvit.data.loader.TrainingClips`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypedDict

from jaxtyping import Int
from torch import Tensor
from torch.utils.data import Dataset

from magvit.shapes import Grid
from magvit.storage import CONFIG, load_config, load_tensors, tensor_shapes
from magvit.typed_json import config_from_dict


@dataclass(frozen=True)
class TokenCacheConfig:
    """`config.json` of a token cache.

    Attributes:
        format: version of this layout.
        latent_shape: `(t, h, w)`.
        conditions: names of the conditions whose tokens are stored, in order; each stands for all tasks that show the
            same of a clip.
        classes: class names in label order.
        clips_per_epoch, epochs: draws there are.
        entries_per_shard: draws in a file.
        made_of: tokenizer, videos and settings by their names, to be compared with those of a run.
    """

    format: Literal[2]
    latent_shape: Grid
    conditions: tuple[str, ...]
    classes: tuple[str, ...]
    clips_per_epoch: int
    epochs: int
    entries_per_shard: int
    made_of: dict

    def __post_init__(self) -> None:
        """Raise ValueError for counts that hold nothing."""
        for name in ("clips_per_epoch", "epochs", "entries_per_shard"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")

    @classmethod
    def load(cls, folder: Path) -> "TokenCacheConfig":
        """Read `folder/config.json`. OSError if there is none; ValueError if it is not that of a token cache."""
        return config_from_dict(cls, load_config(folder, "token cache"), str(folder / CONFIG))

    @property
    def num_shards(self) -> int:
        """Files there are when all is written."""
        return -(-self.clips_per_epoch * self.epochs // self.entries_per_shard)

    def entries(self, shard: int) -> range:
        """The entries that a file holds."""
        start = shard * self.entries_per_shard
        return range(start, min(start + self.entries_per_shard, self.clips_per_epoch * self.epochs))


class TokenEntry(TypedDict):
    """One draw: the tokens of a clip, of what each condition shows of it, its class number or -1, and its number."""

    tokens: Int[Tensor, "t h w"]
    cond_tokens: Int[Tensor, "c t h w"]
    label: int
    index: int


class TokenCache(Dataset[TokenEntry]):
    """Entries by draw `(epoch, index)`, in place of `TrainingClips`; after the stored epochs, these begin again.

    Files stay where they are and are mapped into memory, by each process for itself: what is read are the pages of the
    entries that are drawn, and copies of this set (data loader workers, forked or spawned) carry none of them.

    Raises:
        OSError: the folder is not there, or no token cache.
        ValueError: it is damaged, or its writing has not come to an end.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.config = TokenCacheConfig.load(self.folder)
        self.classes = self.config.classes
        self._shards: dict[int, dict[str, Tensor]] = {}
        if missing := missing_shards(self.folder, self.config):
            raise ValueError(
                f"{folder} is not complete: {len(missing)} of its {self.config.num_shards} files are missing or "
                f"damaged, the first is {shard_name(missing[0])}; the same magvit tokenize command writes them"
            )

    def name(self, index: int, label: int) -> str:
        """What messages call a clip."""
        return f"clip {index}" + (f" ({self.classes[label]})" if label >= 0 else "")

    def __len__(self) -> int:
        return self.config.clips_per_epoch

    def __getitem__(self, key: tuple[int, int]) -> TokenEntry:
        epoch, index = key
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} is not among the {len(self)} clips of {self.folder}")
        entry = epoch % self.config.epochs * len(self) + index
        shard, row = divmod(entry, self.config.entries_per_shard)
        if shard not in self._shards:
            self._shards[shard] = load_tensors(self.folder / shard_name(shard), verify=False)
        stored = self._shards[shard]
        return {
            "tokens": stored["tokens"][row],
            "cond_tokens": stored["cond_tokens"][row],
            "label": int(stored["label"][row]),
            "index": int(stored["index"][row]),
        }

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_shards": {}}


def shard_name(shard: int) -> str:
    """File name of a shard."""
    return f"tokens_{shard:05d}.safetensors"


def missing_shards(folder: Path, config: TokenCacheConfig) -> list[int]:
    """The shards that are not there, or not whole. Reads the heads of the files only."""
    return [shard for shard in range(config.num_shards) if not _is_whole(folder, config, shard)]


def _is_whole(folder: Path, config: TokenCacheConfig, shard: int) -> bool:
    try:
        shapes = tensor_shapes(folder / shard_name(shard))
    except (OSError, ValueError):
        return False
    n, c = len(config.entries(shard)), len(config.conditions)
    wanted = {"tokens": (n, *config.latent_shape), "cond_tokens": (n, c, *config.latent_shape)}
    wanted |= {"label": (n,), "index": (n,)}
    return shapes == wanted
