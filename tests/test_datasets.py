import itertools
import warnings
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from magvit.data.clip_set import Choice
from magvit.data.datasets import ClipFolder, EndlessSampler
from magvit.data.manifest import Manifest, Record, save_manifest
from magvit.data.sampling import even_clips, read_clip
from magvit.data.transforms import resize_tf_bilinear
from magvit.video import TooFewFrames, probe, read_frames, write_video


def write_clip(path: Path, level: float, num_frames: int = 12, size: tuple[int, int] = (24, 32)) -> None:
    """Frame i is red of level i / num_frames, a green ramp to the right, and blue of `level`."""
    height, width = size
    red = (torch.arange(num_frames) / num_frames).view(-1, 1, 1).expand(num_frames, height, width)
    green = torch.linspace(0, 1, width).expand(num_frames, height, width)
    write_video(path, torch.stack((red, green, torch.full_like(red, level))))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    write_clip(folder / "walk" / "a.mp4", 0.2)
    write_clip(folder / "walk" / "deep" / "b.mp4", 0.4)
    write_clip(folder / "run" / "c.webp", 0.6)
    write_clip(folder / "loose.mp4", 0.8)
    (folder / "empty").mkdir()
    (folder / "notes.txt").write_text("not a video")
    (folder / ".hidden.mp4").write_bytes(b"")
    (folder / "walk" / "._a.mp4").write_bytes(b"")
    return folder


def test_classes_are_the_folders_that_hold_videos(root: Path) -> None:
    dataset = ClipFolder(root, (4, 16, 16))
    assert dataset.classes == ["run", "walk"]
    labels = {Path(dataset.name(index)).name: dataset.label(index) for index in range(len(dataset))}
    assert labels == {"a.mp4": 1, "b.mp4": 1, "c.webp": 0, "loose.mp4": -1}
    assert ClipFolder(root / "walk" / "deep", (4, 16, 16)).classes == []
    assert ClipFolder(root / "walk" / "deep", (4, 16, 16))[0]["label"] == -1


def test_items(root: Path) -> None:
    dataset = ClipFolder(root, (4, 16, 16))
    for index in range(len(dataset)):
        clip = dataset[index]
        assert clip["video"].shape == (3, 4, 16, 16)
        assert clip["video"].dtype == torch.float32
        assert 0 <= clip["video"].min() <= clip["video"].max() <= 1
        assert (clip["index"], clip["label"]) == (index, dataset.label(index))
        level = {"a.mp4": 0.2, "b.mp4": 0.4, "c.webp": 0.6, "loose.mp4": 0.8}[Path(dataset.path(index)).name]
        assert clip["video"][2].mean().item() == pytest.approx(level, abs=0.03)


@pytest.mark.parametrize("cache", [False, True])
def test_training_draws_are_a_function_of_seed_epoch_and_index(root: Path, cache: bool) -> None:
    first, again = (ClipFolder(root / "walk", (4, 16, 16), seed=3, cache=cache) for _ in range(2))
    keys = [(epoch, index) for epoch in range(3) for index in range(2)]
    clips = {key: first[key]["video"] for key in keys}
    for key in reversed(keys):
        assert torch.equal(again[key]["video"], clips[key])
    assert torch.equal(first[1]["video"], clips[0, 1])
    assert not torch.equal(clips[0, 0], clips[1, 0])
    assert not torch.equal(ClipFolder(root / "walk", (4, 16, 16), seed=4)[0]["video"], clips[0, 0])


def test_cache_gives_the_same_clips(root: Path) -> None:
    plain, cached = (ClipFolder(root, (4, 16, 16), stride=2, cache=cache) for cache in (False, True))
    for key in itertools.product(range(2), range(len(plain))):
        assert torch.equal(plain[key]["video"], cached[key]["video"])


@pytest.mark.parametrize("cache", [False, True])
def test_clips_resized_as_the_papers(root: Path, cache: bool) -> None:
    """And read again from what they were cut from; the names of files say where."""
    dataset = ClipFolder(root, (4, 16, 16), cache=cache, resize="tf_bilinear")
    for index in range(len(dataset)):
        clip, identity = dataset.draw((1, index))
        whole = resize_tf_bilinear(read_frames(dataset.path(index)), 16)
        frames = whole[:, list(identity.frames), :, identity.left : identity.left + 16]
        frames = frames.flip(-1) if identity.flipped else frames
        assert torch.equal(clip["video"], frames.float() / 255)
        assert torch.equal(dataset.read(identity), clip["video"])
        assert torch.equal(read_clip(replace(identity, path=dataset.path(index))), clip["video"])


def test_training_varies_window_place_and_side(root: Path) -> None:
    dataset = ClipFolder(root / "walk", (4, 16, 16), stride=2, cache=True)
    clips = [dataset[epoch, 0]["video"] for epoch in range(60)]
    starts = {round(clip[0, 0].mean().item() * 12) for clip in clips}
    assert starts == set(range(6))  # 7 of 12 frames are spanned
    steps = {round((clip[0, 1] - clip[0, 0]).mean().item() * 12) for clip in clips}
    assert steps == {2}
    slopes = [(clip[1, ..., -1] - clip[1, ..., 0]).mean().item() for clip in clips]
    assert {slope > 0 for slope in slopes} == {True, False}
    assert len({round(min(clip[1, ..., 0].mean().item(), clip[1, ..., -1].mean().item()), 1) for clip in clips}) > 2


def test_a_part_behind_the_end_of_its_file_says_what_is_there(root: Path, tmp_path: Path) -> None:
    """Read whole, as a cache does: of no frame at all there is no undamaged beginning."""
    records = (Record("walk/a.mp4", 0, "train", start=100.0, end=101.0, frames=8),)
    save_manifest(Manifest("some", root, ("walk",), records), tmp_path / "prepared")
    dataset = ClipFolder(tmp_path / "prepared", (4, 16, 16), cache=True)
    with pytest.raises(TooFewFrames, match="has 12 frames"):
        dataset.take(0)


def test_without_flip_left_stays_left(root: Path) -> None:
    dataset = ClipFolder(root / "walk", (4, 16, 16), flip=False, cache=True)
    for epoch in range(20):
        video = dataset[epoch, 0]["video"]
        assert (video[1, ..., -1] - video[1, ..., 0]).mean() > 0  # the green ramp


def test_evaluation_takes_the_middle(root: Path) -> None:
    dataset = ClipFolder(root / "walk", (4, 16, 16), train=False)
    clip = dataset[0]["video"]
    assert torch.equal(dataset[5, 0]["video"], clip)
    red = clip[0].mean(dim=(1, 2)) * 12
    torch.testing.assert_close(red, torch.tensor([4.0, 5, 6, 7]), atol=0.3, rtol=0)
    assert clip[1].mean().item() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("cache", [False, True])
def test_videos_are_resampled_to_one_rate(tmp_path: Path, cache: bool) -> None:
    """Of the same motion filmed at 24 and at 8 frames a second, clips at 8 a second, or at 4 by a stride, are equal."""
    fast = torch.rand(3, 36, 24, 24, generator=torch.Generator().manual_seed(0))
    for name, video, fps in (("a", fast, 24), ("b", fast[:, ::3], 8)):
        write_video(tmp_path / f"{name}.mp4", video, fps=fps)
    same = ClipFolder(tmp_path, (4, 24, 24), cache=cache, target_fps=8.0, train=False)
    assert same.draw(0)[1].frames == (13, 16, 19, 22)
    assert same.draw(1)[1].frames == (4, 5, 6, 7)
    drawn = [
        ClipFolder(tmp_path, (4, 24, 24), cache=cache, target_fps=8.0, stride=2).draw((epoch, 0)) for epoch in range(9)
    ]
    for clip, identity in drawn:
        assert [later - first for first, later in pairwise(identity.frames)] == [6, 6, 6]
        assert torch.equal(same.read(identity), clip["video"])
    assert len({identity.frames for _, identity in drawn}) > 3


def test_a_video_without_a_rate_is_left_out_of_resampling(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", 0.5)
    write_clip(tmp_path / "b.mp4", 0.5)
    assert ClipFolder(tmp_path, (1, 24, 24), target_fps=8.0)[0]["index"] == 0  # one frame needs no rate
    records = (Record("a", images=("a.png",) * 8), Record("b.mp4"))
    save_manifest(Manifest("two", tmp_path, (), records), tmp_path / "prepared")
    clips = ClipFolder(tmp_path / "prepared", (4, 24, 24), target_fps=8.0)
    with pytest.warns(UserWarning, match="does not say its frame rate"):
        assert clips[0]["index"] == 1
    with pytest.raises(ValueError, match="target_fps is 0"):
        ClipFolder(tmp_path, (4, 24, 24), target_fps=0.0)


def test_even_clips_are_spread_over_a_video(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", 0.5)
    clips = ClipFolder(tmp_path, (4, 16, 16))
    for number, first in enumerate((0, 4, 8)):
        choice = Choice(lambda frames, span, number=number: even_clips(frames, 3, span)[number])
        assert clips.take(0, lambda choice=choice: choice)[1].frames[0] == first
    assert clips.take(0)[1] == ClipFolder(tmp_path, (4, 16, 16), train=False).draw(0)[1]
    with pytest.raises(ValueError, match="has 12 frames, 13 frames at stride 1 needed"):
        ClipFolder(tmp_path, (13, 16, 16)).take(0)


@pytest.mark.parametrize("size", [(16, 24), (24, 16), (8, 40)])
def test_any_crop_fits_by_default(tmp_path: Path, size: tuple[int, int]) -> None:
    write_clip(tmp_path / "wide.mp4", 0.5, size=(16, 48))
    write_clip(tmp_path / "high.mp4", 0.5, size=(48, 16))
    dataset = ClipFolder(tmp_path, (4, *size))
    assert {tuple(dataset[index]["video"].shape) for index in range(2)} == {(3, 4, *size)}
    with pytest.raises(ValueError, match="short_side is 10"):
        ClipFolder(tmp_path, (4, *size), short_side=10)


@pytest.mark.parametrize("cache", [False, True])
def test_unusable_files_are_named_once_and_replaced(tmp_path: Path, cache: bool) -> None:
    (tmp_path / "a.mp4").write_bytes(b"")
    write_clip(tmp_path / "b.mp4", 0.5, num_frames=3)
    write_clip(tmp_path / "c.mp4", 0.7)
    dataset = ClipFolder(tmp_path, (4, 16, 16), cache=cache)
    with pytest.warns(UserWarning, match="left out") as caught:
        clip = dataset[2, 0]
    assert [name in str(warning.message) for warning, name in zip(caught, ("a.mp4", "b.mp4"), strict=True)] == [
        True
    ] * 2
    assert clip["index"] == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(dataset[2, 0]["video"], clip["video"])  # also now that the files are known to be bad
    fresh = ClipFolder(tmp_path, (4, 16, 16), cache=cache)
    with pytest.warns(UserWarning, match="has 3 frames, 4 frames at stride 1 needed"):
        assert fresh[0, 1]["index"] == 2


@pytest.mark.parametrize("cache", [False, True])
def test_a_damaged_video_gives_its_good_part(tmp_path: Path, cache: bool) -> None:
    noise = torch.rand(3, 40, 32, 32, generator=torch.Generator().manual_seed(0))
    write_video(tmp_path / "a.mp4", noise)
    data = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(data[: len(data) // 2])
    assert probe(tmp_path / "a.mp4").num_frames == 40  # the header still promises all
    dataset = ClipFolder(tmp_path, (4, 32, 32), cache=cache)
    clips = [dataset[epoch, 0]["video"] for epoch in range(8)]
    other = ClipFolder(tmp_path, (4, 32, 32), cache=cache)
    for epoch in reversed(range(8)):
        assert torch.equal(other[epoch, 0]["video"], clips[epoch])


def write_picture(path: Path, level: float, size: tuple[int, int] = (24, 32)) -> None:
    """A green ramp to the right, and blue of `level`, with noise that makes a file too long to survive a cut."""
    height, width = size
    picture = torch.rand(height, width, 3, generator=torch.Generator().manual_seed(0)) * 0.1
    picture[..., 1] += torch.linspace(0, 0.9, width)
    picture[..., 2] = level
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture.mul(255).byte().numpy()).save(path)


@pytest.mark.parametrize("cache", [False, True])
def test_pictures_are_clips_of_one_frame(tmp_path: Path, cache: bool) -> None:
    levels = {"cat/a.jpg": 0.2, "cat/b.PNG": 0.4, "dog/c.webp": 0.6, "dog/d.bmp": 0.8}
    for name, level in levels.items():
        write_picture(tmp_path / name, level)
    write_picture(tmp_path / "e.png", 0.5)
    dataset = ClipFolder(tmp_path, (1, 16, 16), cache=cache)
    names = [dataset.name(index) for index in range(len(dataset))]
    assert names == [*levels, "e.png"]
    assert (dataset.classes, [*map(dataset.label, range(5))]) == (["cat", "dog"], [0, 0, 1, 1, -1])
    for index, level in enumerate([*levels.values(), 0.5]):
        clips = [dataset[epoch, index]["video"] for epoch in range(20)]
        assert clips[0].shape == (3, 1, 16, 16)
        assert clips[0][2].mean().item() == pytest.approx(level, abs=0.03)
        sides = {(clip[1, ..., -1] - clip[1, ..., 0]).mean().item() > 0 for clip in clips}
        assert sides == {True, False}
        assert len({round(clip[1].mean().item(), 2) for clip in clips}) > 2  # of several places
        assert torch.equal(ClipFolder(tmp_path, (1, 16, 16), cache=cache)[7, index]["video"], clips[7])


def test_pictures_are_no_videos(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.jpg", 0.5)
    with pytest.raises(ValueError, match="holds no videos"):
        ClipFolder(tmp_path, (4, 16, 16))
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(ValueError, match="holds no videos and no pictures"):
        ClipFolder(tmp_path, (1, 16, 16))


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("cache", [False, True])
def test_a_damaged_picture_is_named_once_and_replaced(tmp_path: Path, suffix: str, cache: bool) -> None:
    write_picture(tmp_path / f"a.{suffix}", 0.2, size=(64, 64))
    whole = (tmp_path / f"a.{suffix}").read_bytes()
    (tmp_path / f"a.{suffix}").write_bytes(whole[: len(whole) // 2])
    write_picture(tmp_path / f"b.{suffix}", 0.8)
    dataset = ClipFolder(tmp_path, (1, 16, 16), cache=cache)
    with pytest.warns(UserWarning, match=f"left out: .*a.{suffix} is not a whole picture") as caught:
        clip = dataset[0]
    assert len(caught) == 1
    assert clip["index"] == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert dataset[1, 0]["index"] == 1


def test_a_folder_without_one_usable_video(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"")
    (tmp_path / "b.mp4").write_bytes(b"")
    dataset = ClipFolder(tmp_path, (4, 16, 16))
    with pytest.warns(UserWarning, match="left out"), pytest.raises(ValueError, match="none of the 2 videos") as caught:
        dataset[0]
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="none of the 2 videos"):
        dataset[1]


def test_refuses_bad_arguments(root: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="does not exist"):
        ClipFolder(tmp_path / "absent", (4, 16, 16))
    with pytest.raises(ValueError, match="expected a folder or one of"):
        ClipFolder(root / "notes.txt", (4, 16, 16))
    with pytest.raises(ValueError, match="holds no videos"):
        ClipFolder(tmp_path, (4, 16, 16))
    with pytest.raises(ValueError, match="stride 0"):
        ClipFolder(root, (4, 16, 16), stride=0)
    dataset = ClipFolder(root, (4, 16, 16))
    for index in (-1, 4):
        with pytest.raises(IndexError):
            dataset[index]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python >= 3.12 about threads in torch
def test_workers_give_what_one_process_gives(root: Path) -> None:
    def batches(workers: int) -> list[dict[str, torch.Tensor]]:
        dataset = ClipFolder(root, (4, 16, 16))
        loader = DataLoader(dataset, batch_size=3, sampler=EndlessSampler(len(dataset), seed=1), num_workers=workers)
        return list(itertools.islice(loader, 3))

    for alone, together in zip(batches(0), batches(2), strict=True):
        assert alone["video"].shape == (3, 3, 4, 16, 16)
        for name in ("video", "label", "index"):
            assert torch.equal(alone[name], together[name])


def test_sampler_shuffles_every_epoch() -> None:
    draws = list(itertools.islice(EndlessSampler(10, seed=0), 50))
    epochs = [draws[start : start + 10] for start in range(0, 50, 10)]
    for number, epoch in enumerate(epochs):
        assert sorted(epoch) == [(number, index) for index in range(10)]
    orders = {tuple(index for _, index in epoch) for epoch in epochs}
    assert len(orders) == 5
    other = list(itertools.islice(EndlessSampler(10, seed=1), 50))
    assert [index for _, index in other] != [index for _, index in draws]
    assert other[:10] != draws[10:20]


@pytest.mark.parametrize("start", [0, 1, 9, 10, 11, 37])
def test_sampler_resumes_at_any_position(start: int) -> None:
    whole = list(itertools.islice(EndlessSampler(10, seed=5), 60))
    sampler = EndlessSampler(10, seed=5, start=start)
    assert list(itertools.islice(sampler, 20)) == whole[start : start + 20]
    assert list(itertools.islice(sampler, 20)) == whole[start : start + 20]  # iterating again starts again


def test_sampler_refuses_bad_arguments() -> None:
    with pytest.raises(ValueError, match="dataset_size is 0"):
        EndlessSampler(0, seed=0)
    with pytest.raises(ValueError, match="start -1"):
        EndlessSampler(3, seed=0, start=-1)
