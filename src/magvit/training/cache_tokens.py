"""Write the token cache of a stage-2 run, check that a cache and a run fit together, and train from it.

What a run reads of a clip are its tokens and those of the condition video of one task. They are pure functions of
tokenizer, clip and task, and the clip is one of seed, epoch and index: all can be computed once, ahead of time.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from magvit import locks, storage
from magvit.data.loader import DataConfig, TrainingClips
from magvit.data.token_cache import TokenCacheConfig, missing_shards, shard_name
from magvit.data.workers import WatchedLoader
from magvit.pipeline import MagvitPipeline
from magvit.seeds import generator_for
from magvit.shapes import Video
from magvit.tasks import TASKS, Task, get_task
from magvit.tokenizer import VideoTokenizer
from magvit.training.config import TransformerRun
from magvit.training.objectives import Tokenized, in_precision


class Begun(NamedTuple):
    """A token cache that is fit to be written: what of, and what is in its folder's config."""

    clips: TrainingClips
    tokenizer: VideoTokenizer
    config: TokenCacheConfig


def begin_tokens(
    run: TransformerRun,
    folder: Path,
    *,
    epochs: int = 1,
    entries_per_shard: int = 1024,
    device: str | torch.device = "cpu",
) -> Begun:
    """All of `cache_tokens` but the work: what is wrong is found here. Errors likewise."""
    for name, value in (("epochs", epochs), ("entries_per_shard", entries_per_shard)):
        if value < 1:
            raise ValueError(f"{name} is {value}, expected at least 1")
    clips = TrainingClips(run.data, run.loop.seed)
    tokenizer = MagvitPipeline.from_pretrained(run.tokenizer, device).tokenizer
    latent_shape = tokenizer.config.latent_shape(run.data.clip_shape)
    conditions = condition_names(run.tasks)
    for name in conditions:  # refuses more condition frames than a clip has
        get_task(name).condition(torch.zeros(1, 3, *run.data.clip_shape), latent_shape, run.condition_frames)
    config = TokenCacheConfig(
        format=2,
        latent_shape=latent_shape,
        conditions=conditions,
        classes=clips.classes,
        clips_per_epoch=len(clips),
        epochs=epochs,
        entries_per_shard=entries_per_shard,
        made_of={**made_of(run, tokenizer, clips), "precision": run.tokenizes_in},
    )
    return Begun(clips, tokenizer, _begin(folder, config))


def cache_tokens(
    run: TransformerRun,
    folder: Path,
    *,
    epochs: int = 1,
    batch_size: int = 16,
    entries_per_shard: int = 1024,
    part: tuple[int, int] = (0, 1),
    device: str | torch.device = "cpu",
    progress: bool = True,
) -> Path:
    """Store `epochs` epochs of the tokens that `run` would compute, and return `folder`.

    Files that are whole stay, so interrupted work goes on where it stopped, and more epochs can be added later. Each
    file is written under another name, flushed to disk and renamed. Part `(i, n)` is every n-th file from file i on;
    several parts can be written at once, and all of them are the same as the whole.

    Raises:
        ValueError: the folder holds the cache of something else; tokenizer, tasks and data do not fit together.
        OSError: tokenizer or clips are not there, or the folder cannot be written, or is being written by another
            process.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}, expected at least 1")
    number, count = part
    with locks.locked(folder, f"-{number}-of-{count}" if count > 1 else ""):
        clips, tokenizer, config = begin_tokens(
            run, folder, epochs=epochs, entries_per_shard=entries_per_shard, device=device
        )
        conditions = [get_task(name) for name in config.conditions]
        mine = range(number, config.num_shards, count)
        missing = [shard for shard in missing_shards(folder, config) if shard in mine]
        total, todo = (sum(len(config.entries(shard)) for shard in shards) for shards in (mine, missing))
        needed = todo * (1 + len(conditions)) * math.prod(config.latent_shape) * stored_as(tokenizer).itemsize
        storage.check_space(folder, needed, "the tokens")
        loader = WatchedLoader(
            clips,
            batch_sampler=_draws(config, missing, batch_size),
            num_workers=run.loop.num_workers,
            pin_memory=torch.device(device).type == "cuda",
            generator=generator_for(run.loop.seed),
        )
        batches = iter(loader)
        with tqdm(total=total, initial=total - todo, unit="clip", disable=not progress or number > 0) as bar:
            for shard in missing:
                pieces: list[dict[str, Tensor]] = []
                for _ in range(0, len(config.entries(shard)), batch_size):
                    batch = next(batches)
                    video = batch["video"].to(device, non_blocking=True)
                    with in_precision(run.tokenizes_in, video.device):
                        tokens = tokenize_conditions(tokenizer, video, conditions, run.condition_frames)
                    pieces.append({**tokens, "label": batch["label"], "index": batch["index"]})
                    bar.update(len(video))
                arrays = {name: torch.cat([piece[name] for piece in pieces]) for name in pieces[0]}
                storage.save_tensors(folder / shard_name(shard), arrays)
    return folder


def condition_name(task: Task) -> str | None:
    """The name under which the tokens of a task's condition are stored; None if it shows nothing of the clip.

    It is that of the first task with the same condition: `class_frame_prediction` shares `frame_prediction`'s.
    """
    return next(name for name, other in TASKS.items() if other.rule is task.rule) if task.needs_video else None


def condition_names(tasks: Iterable[str]) -> tuple[str, ...]:
    """The conditions that some tasks need, each once, in the order of `TASKS`."""
    needed = {condition_name(get_task(task)) for task in tasks}
    return tuple(name for name in TASKS if name in needed)


@torch.no_grad()
def tokenize_conditions(
    tokenizer: VideoTokenizer, video: Video, tasks: Iterable[Task], condition_frames: int
) -> dict[str, Tensor]:
    """`tokens` [B, t, h, w] of the clips and `cond_tokens` [B, tasks, t, h, w] of what tasks show of them, as stored:
    -1 where nothing is given.

    Clips and conditions go through the tokenizer one set after the other, so the largest batch is that of the clips.
    """
    latent_shape = tokenizer.config.latent_shape((video.shape[2], video.shape[3], video.shape[4]))
    tokens, cond_tokens = tokenizer.encode(video).to(stored_as(tokenizer)).cpu(), []
    for task in tasks:
        shown = task.condition(video, latent_shape, condition_frames)
        given = tokenizer.encode(shown.cond_video).masked_fill(~shown.cond_token_mask, -1)
        cond_tokens.append(given.to(stored_as(tokenizer)).cpu())
    nothing = tokens.new_empty(len(video), 0, *latent_shape)
    return {"tokens": tokens, "cond_tokens": torch.stack(cond_tokens, 1) if cond_tokens else nothing}


def stored_as(tokenizer: VideoTokenizer) -> torch.dtype:
    """The smaller of two types that hold every token."""
    return torch.int16 if tokenizer.config.codebook_size <= 2**15 else torch.int32


def look_up(batch: Mapping[str, Tensor], conditions: Sequence[str], tasks: Sequence[Task]) -> Tokenized:
    """What `objectives.tokenize` gives, from a batch of a token cache.

    Args:
        batch: `tokens` [B, t, h, w] and `cond_tokens` [B, c, t, h, w].
        conditions: the names of the `c` conditions.
        tasks: that of each clip.
    """
    tokens = batch["tokens"].long()
    names = [condition_name(task) for task in tasks]
    slots = torch.tensor([conditions.index(name) if name else len(conditions) for name in names])
    slots, clips = slots.to(tokens.device, non_blocking=True), torch.arange(len(names), device=tokens.device)
    nothing = torch.full_like(batch["tokens"], -1)[:, None]
    cond_tokens = torch.cat([batch["cond_tokens"], nothing], 1)[clips, slots].long()
    return Tokenized(tokens, cond_tokens.clamp_min(0), cond_tokens >= 0)


# --- What a cache was made of ---------------------------------------------------------------------------------------

NOT_OF_THE_TOKENS = ("folder", "cache", "fps")
"""Fields of `DataConfig` that do not change the clips; the folder may have moved, its videos are compared instead."""


def made_of(run: TransformerRun, tokenizer: VideoTokenizer, clips: TrainingClips | None) -> dict[str, Any]:
    """All that the stored tokens depend on, as JSON values. Without `clips`, the videos are left out."""
    data = {f"data.{name}": value for name, value in asdict(run.data).items() if name not in NOT_OF_THE_TOKENS}
    parts = {"tokenizer": fingerprint(tokenizer), "seed": run.loop.seed, "condition_frames": run.condition_frames}
    if clips is not None and clips.folder is not None:
        kind, names = type(clips.folder).__name__, map(clips.folder.name, range(len(clips.folder)))
        parts["videos"] = hashlib.sha256("\n".join((kind, *names)).encode()).hexdigest()
        if not clips.unlabelled:
            labels = [clips.folder.label(index) for index in range(len(clips.folder))]
            parts["labels"] = hashlib.sha256(json.dumps([clips.classes, labels]).encode()).hexdigest()
    return json.loads(json.dumps(parts | data))


def fingerprint(tokenizer: VideoTokenizer) -> str:
    """SHA-256 of what tokens depend on: config, encoder and codebook. The decoder may be trained on."""
    digest = hashlib.sha256(json.dumps(asdict(tokenizer.config)).encode())
    for name, tensor in sorted(tokenizer.state_dict().items()):
        if not name.startswith("decoder."):
            digest.update(name.encode())
            digest.update(tensor.detach().float().cpu().contiguous().numpy().data)
    return digest.hexdigest()


def check_cache(folder: str | Path, config: TokenCacheConfig, run: TransformerRun, tokenizer: VideoTokenizer) -> None:
    """Refuse a cache that would give `run` other tokens than its own data and tokenizer do.

    A run without a data folder takes the cache's word for the videos: they need not be on the machine that trains.

    Raises:
        ValueError: one sentence that names what differs.
        OSError: the run's data folder is not there.
    """
    clips = TrainingClips(run.data, run.loop.seed) if run.data.folder is not None else None
    if other := _difference(config.made_of, made_of(run, tokenizer, clips)):
        raise ValueError(f"the token cache {folder} does not fit this run: it was made {other}")
    if run.tokenizes_in == "float32" and config.made_of.get("precision") == "bfloat16":
        raise ValueError(f"the token cache {folder} does not fit this run: its tokens are of bfloat16, not of float32")
    if missing := [name for name in condition_names(run.tasks) if name not in config.conditions]:
        there = ", ".join(config.conditions) or "no condition"
        raise ValueError(f"the token cache {folder} lacks the condition of {', '.join(missing)}: it has {there}")


def _difference(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> str | None:
    """The first of the `wanted` things that is otherwise in a cache, as the end of a sentence."""
    unsaid = {f"data.{field.name}": field.default for field in fields(DataConfig)}  # by an older version
    unsaid["labels"] = wanted.get("labels")
    for name, value in wanted.items():
        if stored.get(name, unsaid.get(name)) != value:
            plain = {"tokenizer": "with another tokenizer", "videos": "of other videos"}
            plain["labels"] = "with other classes, or other labels of the videos"
            return plain.get(name, f"with {name} {stored.get(name)!r}, not {value!r}")
    return None


# --- Writing --------------------------------------------------------------------------------------------------------


def _begin(folder: Path, config: TokenCacheConfig) -> TokenCacheConfig:
    """Write the config, or find one like it, which may have fewer or more epochs and files of another size."""
    if storage.begin(folder, "token cache", "tokens_*.safetensors") is not None:
        stored = TokenCacheConfig.load(folder)
        other = _difference(stored.made_of, config.made_of)
        if other is None and stored.conditions != config.conditions:
            other = f"with the conditions of {', '.join(stored.conditions) or 'none'}"
        if other:
            raise ValueError(f"{folder} holds another token cache, made {other}: choose another output")
        config = replace(stored, epochs=max(stored.epochs, config.epochs))
    storage.save_config(folder, "token cache", asdict(config))
    return config


def _draws(config: TokenCacheConfig, shards: Iterable[int], batch_size: int) -> Iterator[list[tuple[int, int]]]:
    """The draws `(epoch, index)` of the shards in batches, none of which crosses from one shard to the next."""
    for shard in shards:
        entries = config.entries(shard)
        for start in range(0, len(entries), batch_size):
            yield [divmod(entry, config.clips_per_epoch) for entry in entries[start : start + batch_size]]
