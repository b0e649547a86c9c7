import itertools
from collections import Counter
from pathlib import Path

import pytest
import torch

from magvit.data.datasets import ClipFolder
from magvit.data.loader import DataConfig, TrainingClips, make_loader
from magvit.data.manifest import Manifest
from magvit.data.shard_writer import write_shards
from magvit.synthetic import CLASSES, SYNTHETIC, MovingShapes
from magvit.video import write_video

SHAPE = (2, 8, 8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three videos of one brightness each, in two classes; brighter than 0.9, as no background of the shapes is."""
    root = tmp_path_factory.mktemp("folder")
    for index, name in enumerate(("a/0", "a/1", "b/2")):
        write_video(root / f"{name}.mp4", torch.full((3, 4, 16, 16), 0.92 + 0.03 * index))
    return str(root)


def synthetic(seed: int = 0) -> TrainingClips:
    return TrainingClips(DataConfig(SHAPE, synthetic_share=1.0), seed)


def first(count: int, clips: TrainingClips, batch_size: int, **options) -> list[dict]:
    options.setdefault("seed", 3)
    return list(itertools.islice(make_loader(clips, batch_size, **options), count))


def equal(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_batches_are_stacked_clips():
    (batch,) = first(1, synthetic(), 4)
    assert batch["video"].shape == (4, 3, *SHAPE)
    assert batch["label"].dtype == batch["index"].dtype == torch.int64
    for video, label, index in zip(batch["video"], batch["label"], batch["index"], strict=True):
        clip = MovingShapes(SHAPE, 0)[index.item()]
        assert torch.equal(video, clip["video"])
        assert label == clip["label"]


@pytest.mark.parametrize("start", [1, 5, 400])
def test_the_stream_entered_later_is_the_same_stream(start):
    """400 batches of 3 are beyond the first epoch of 1024 draws."""
    draws = list(itertools.islice(make_loader(synthetic(), 3, seed=3).batch_sampler, start + 2))
    entered = list(itertools.islice(make_loader(synthetic(), 3, seed=3, start=start).batch_sampler, 2))
    assert entered == draws[start:]
    (batch,) = first(1, synthetic(), 3, start=start)
    assert batch["index"].tolist() == [epoch * 1024 + index for epoch, index in draws[start]]


@pytest.mark.parametrize("workers", [0, 1])
def test_what_else_is_loaded_with_a_clip_is_of_its_place_in_the_stream(workers):
    """On any process, and where the stream is entered later."""

    def extras(place, clip):
        return {"place": torch.tensor(place), "sum": clip["video"].sum()}

    options = {"extras": extras, "start": 3, "rank": 1, "world_size": 2, "num_workers": workers}
    batches = first(2, synthetic(), 2, **options)
    assert [batch["place"].tolist() for batch in batches] == [[14, 15], [18, 19]]
    assert all(torch.equal(batch["sum"], torch.stack([clip.sum() for clip in batch["video"]])) for batch in batches)
    plain = first(2, synthetic(), 2, start=3, rank=1, world_size=2)
    assert all(torch.equal(a["video"], b["video"]) for a, b in zip(plain, batches, strict=True))


def test_processes_share_the_stream_of_one():
    one = first(4, synthetic(), 2)
    both = [first(2, synthetic(), 2, rank=rank, world_size=2) for rank in range(2)]
    assert all(
        equal(a, b) for a, b in zip(one, [batch for pair in zip(*both, strict=True) for batch in pair], strict=True)
    )
    (large,) = first(1, synthetic(), 4)
    assert torch.equal(large["index"], torch.cat([both[rank][0]["index"] for rank in range(2)]))
    later = first(1, synthetic(), 2, rank=1, world_size=2, start=1)
    assert equal(later[0], both[1][1])


def test_several_worlds_take_turns_and_only_the_first_has_classes(folder):
    names = ("pushing", "shapes", "pushing", "digits")
    clips = TrainingClips(DataConfig(SHAPE, synthetic_share=1.0, synthetic=names), 5)
    assert clips.classes == SYNTHETIC["pushing"](SHAPE, 5).classes
    taken = Counter()
    for index in range(12):
        name, clip = names[index % 4], clips[0, index]
        expected = SYNTHETIC[name](SHAPE, 5)[taken[name]]
        taken[name] += 1
        assert torch.equal(clip["video"], expected["video"])
        assert (clip["label"], clip["index"]) == (expected["label"] if name == "pushing" else -1, index)
    mixed = TrainingClips(DataConfig(SHAPE, folder, 0.5, names), 5)
    told = {mixed.name(clip["index"], clip["label"]) for clip in (mixed[0, index] for index in (0, 1, 700))}
    assert {name.rsplit(" ", 1)[0] for name in told if "synthetic" in name} == {"synthetic clip"}
    assert sum(name.endswith(".mp4") for name in told) == 1
    with pytest.raises(ValueError, match="synthetic is \\(\\), expected one or more of shapes"):
        DataConfig(SHAPE, synthetic_share=1.0, synthetic=())


def test_workers_change_nothing():
    for alone, together in zip(first(3, synthetic(), 2), first(3, synthetic(), 2, num_workers=2), strict=True):
        assert equal(alone, together)


def test_seeds_give_other_orders_and_other_clips():
    draws = [tuple(first(1, synthetic(), 8, seed=seed)[0]["index"].tolist()) for seed in range(3)]
    assert len(set(draws)) == 3
    assert not torch.equal(synthetic(0)[0, 0]["video"], synthetic(1)[0, 0]["video"])


def test_shapes_never_repeat():
    clips = synthetic()
    indices = [clips[epoch, index]["index"] for epoch in range(2) for index in (0, 1, 1022, 1023)]
    assert indices == [0, 1, 1022, 1023, 1024, 1025, 2046, 2047]
    assert clips.classes == CLASSES


def test_mixed_data_keeps_its_share_and_uses_every_video_alike(folder):
    clips = TrainingClips(DataConfig(SHAPE, folder, synthetic_share=0.25, cache=True), 0)
    assert len(clips) == 1024
    epochs = list(itertools.islice(iter(make_loader(clips, 1024, seed=0).batch_sampler), 2))
    assert [sorted(draws) for draws in epochs] == [[(epoch, index) for index in range(1024)] for epoch in range(2)]
    drawn = [clips[key] for key in epochs[1]]
    assert sum(clip["label"] >= 0 for clip in drawn) == 256
    videos = Counter(clip["index"] for clip in drawn if clip["label"] < 0)
    assert sorted(videos.values()) == [256, 256, 256]
    for clip in drawn:  # real videos of the folder have no class among the shapes
        assert (clip["label"] == -1) == bool(clip["video"].min() > 0.9)
    assert clips.classes == CLASSES


def test_a_folder_alone_has_its_own_classes_and_epochs(folder):
    clips = TrainingClips(DataConfig(SHAPE, folder), 0)
    assert len(clips) == 3
    assert clips.classes == ("a", "b")
    drawn = [clips[0, index] for index in range(3)]
    assert [clip["label"] for clip in drawn] == [0, 0, 1]
    batches = first(2, clips, 3)
    assert all(sorted(batch["index"].tolist()) == [0, 1, 2] for batch in batches)


def test_sub_folders_need_not_be_classes(folder):
    clips = TrainingClips(DataConfig(SHAPE, folder, labels=False), 0)
    assert clips.classes == ()
    assert [clips[0, index]["label"] for index in range(3)] == [-1, -1, -1]


def test_the_folder_is_read_as_the_config_says(folder):
    changes = {"stride": 3, "short_side": 12, "flip": False, "cache": True}
    dataset = TrainingClips(DataConfig(SHAPE, folder, **changes), seed=5).folder
    assert {name: getattr(dataset, name) for name in changes} == changes
    assert (dataset.seed, dataset.train, dataset.clip_shape) == (5, True, SHAPE)


def test_what_cannot_be_drawn_from_is_refused(tmp_path):
    for share in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match=r"synthetic_share is .*, expected a number in \[0, 1\]"):
            DataConfig(SHAPE, synthetic_share=share)
    for share in (0.0, 0.5):
        with pytest.raises(ValueError, match="no data: give a folder"):
            TrainingClips(DataConfig(SHAPE, synthetic_share=share), 0)
    for share in (0.0004, 0.9996):  # past bug: all of one kind, and yet without the folder's labels
        with pytest.raises(ValueError, match=rf"synthetic_share is {share}, expected 0, 1, or 0.0010 to 0.9990"):
            TrainingClips(DataConfig(SHAPE, str(tmp_path), synthetic_share=share), 0)
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        TrainingClips(DataConfig(SHAPE, str(tmp_path / "nowhere")), 0)


def test_nothing_is_drawn_from_the_global_generator():
    """Past bug: a data loader takes its base seed there, so the first step after resuming had other dropout."""
    torch.manual_seed(1)
    expected = torch.rand(())
    torch.manual_seed(1)
    first(1, synthetic(), 2)
    assert torch.rand(()) == expected


def test_shards_stand_in_for_the_folder_they_were_made_of(folder, tmp_path):
    manifest = Manifest("folder", Path(folder), ("a", "b"), tuple(ClipFolder(folder, SHAPE).records))
    write_shards(manifest, tmp_path / "shards", short_side=16, clips_per_shard=2)
    files, shards = (TrainingClips(DataConfig(SHAPE, str(place)), 0) for place in (folder, tmp_path / "shards"))
    assert (shards.classes, len(shards)) == (files.classes, len(files))
    with pytest.warns(UserWarning, match=r"resize tf_bilinear: the shards in .* were resized to 16 \(bicubic\) when"):
        TrainingClips(DataConfig(SHAPE, str(tmp_path / "shards"), resize="tf_bilinear"), 0)
    for key in ((0, 0), (4, 2)):
        assert shards[key]["label"] == files[key]["label"]
        assert torch.allclose(shards[key]["video"], files[key]["video"], atol=0.03)
    assert shards.name(2, 1).endswith("b/2.mp4")


@pytest.mark.parametrize("name", SYNTHETIC)
def test_every_synthetic_set_can_be_trained_on(name: str) -> None:
    clips = TrainingClips(DataConfig(SHAPE, synthetic_share=1.0, synthetic=name), 3)
    alone = SYNTHETIC[name](SHAPE, 3)
    assert clips.classes == alone.classes
    assert torch.equal(clips[2, 5]["video"], alone[2 * 1024 + 5]["video"])
    (batch,) = first(1, clips, 4)
    assert batch["video"].shape == (4, 3, *SHAPE)
    assert clips.name(7, 0) == f"{alone.noun} 7"
