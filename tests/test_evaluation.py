"""From clips to numbers: which clips a protocol takes, resuming, parts, known answers, and what is refused."""

import hashlib
import json
import math
import multiprocessing
import shutil
import warnings
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from magvit.cli import main
from magvit.cli.evaluate import Evaluate
from magvit.data.clip_set import ClipSet
from magvit.data.datasets import ClipFolder
from magvit.data.synthetic_videos import SyntheticVideos
from magvit.decoding import Decoding
from magvit.evaluation import features, published
from magvit.evaluation.columns import I3D_LOGITS, OWN_FEATURES, Samples, pairs
from magvit.evaluation.evaluate import Begun, Evaluation, _take_folder, evaluate
from magvit.evaluation.features import Work
from magvit.evaluation.metrics import METRICS, Metric, Setting, load_networks
from magvit.evaluation.networks import Networks, Own, WeightFiles, weights_hash
from magvit.evaluation.protocols import Pixels, Protocol, RealSet
from magvit.evaluation.published import PROTOCOLS
from magvit.evaluation.results import Results, Score, compare
from magvit.evaluation.samples import RealClips, fingerprint
from magvit.evaluation.subjects import Sampled, Subject, of_folder, of_pipeline
from magvit.generator_config import TaskDecoding
from magvit.metrics.frechet import FeatureStatistics, frechet_distance
from magvit.metrics.i3d import I3D
from magvit.metrics.kernel import kernel_distance
from magvit.metrics.neighbourhoods import share_within
from magvit.model_config import ModelConfig
from magvit.pipeline import MagvitPipeline
from magvit.shapes import Video
from magvit.synthetic import SYNTHETIC, MovingShapes
from magvit.tokenizer import TokenizerConfig, VideoTokenizer
from magvit.transformer import MaskedTransformer
from magvit.video import write_video
from tiny_model import CLASSES, CLIP_SHAPE, tiny_pipeline

CPU = torch.device("cpu")
NUM_VIDEOS = 6


def mean_colours(video: Video) -> torch.Tensor:
    """Features that a test can compute by hand: mean and deviation of each channel, and the mean change in time."""
    flat = video.flatten(2)
    change = (video[:, :, 1:] - video[:, :, :-1]).abs().mean(dim=(1, 2, 3, 4))
    return torch.cat([flat.mean(2), flat.std(2), change[:, None]], 1)


NETWORKS = Networks({"features": mean_colours}, {"features": "0" * 64})
PROTOCOL = Protocol(
    name="test",
    source="ours",
    subject="reconstruction",
    metrics=("frechet_distance", "psnr", "ssim", "codebook_usage"),
    num_samples=10,
)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six videos of 12 frames in the tiny model's classes."""
    root = tmp_path_factory.mktemp("videos")
    for number in range(NUM_VIDEOS):
        video = MovingShapes((12, 20, 24), seed=3)[number]["video"]
        write_video(root / CLASSES[number % 3] / f"{number}.mp4", video)
    return root


def clips(videos: Path, shape: tuple[int, int, int] = CLIP_SHAPE) -> ClipFolder:
    return ClipFolder(videos, shape)


def reconstruction(protocol: Protocol = PROTOCOL) -> Subject:
    return of_pipeline(tiny_pipeline(), protocol, list(CLASSES), "tiny")


def run(
    videos: Path,
    output: Path,
    protocol: Protocol = PROTOCOL,
    subject: Subject | None = None,
    networks: Networks = NETWORKS,
    batch_size: int = 8,
    **options: Any,
) -> Results:
    subject = subject or reconstruction(protocol)
    evaluation = Evaluation(protocol, clips(videos), subject, networks, **options)
    results = evaluate(evaluation, output, Work(CPU, batch_size))
    assert results is not None
    return results


def numbers(results: Results) -> dict[tuple[str, str], float]:
    return {(score.task, score.metric): score.mean for score in results.scores}


# --- which clips


def test_real_clips_of_each_rule(videos: Path) -> None:
    def frames(protocol: Protocol) -> list[tuple[str, int]]:
        real = RealClips(clips(videos), protocol, seed=0)
        identities = [real.draw(number)[1] for number in range(len(real))]
        return [(identity.path, identity.frames[0]) for identity in identities]

    names = [clips(videos).name(index) for index in range(NUM_VIDEOS)]
    assert frames(replace(PROTOCOL, num_samples=0, real=RealSet("first"))) == [(name, 0) for name in names]
    assert frames(replace(PROTOCOL, real=RealSet("center"))) == [(name, 2) for name in names]
    even = frames(replace(PROTOCOL, real=RealSet("even", per_video=3)))
    assert even == [(name, start) for name in names for start in (0, 2, 4)]
    drawn = frames(PROTOCOL)
    assert len(drawn) == PROTOCOL.num_samples
    assert sorted(name for name, _ in drawn[:NUM_VIDEOS]) == names  # every video once before one comes again
    assert frames(PROTOCOL) == drawn
    with pytest.raises(ValueError, match="6 videos, which give 6 real clips; test needs 7"):
        RealClips(clips(videos), replace(PROTOCOL, real=RealSet("first", count=7)), seed=0)


def test_repeats_draw_other_real_clips(videos: Path) -> None:
    first, second = (RealClips(clips(videos), PROTOCOL, 0, repeat).draws for repeat in (0, 1))
    assert first + second == RealClips(clips(videos), replace(PROTOCOL, num_samples=20), 0).draws


def test_windows_are_drawn_among_all_without_replacement(videos: Path) -> None:
    """Of 12 frames, clips of 8 begin at 0 to 4, or 2 apart at 0, 2 and 4."""
    for step, starts in ((1, range(5)), (2, range(0, 5, 2))):
        protocol = replace(PROTOCOL, num_samples=0, real=RealSet("windows", window_step=step))
        real = RealClips(clips(videos), protocol, seed=0)
        found = [(identity.path, identity.frames[0]) for identity in (real.draw(n)[1] for n in range(len(real)))]
        names = [clips(videos).name(index) for index in range(NUM_VIDEOS)]
        assert sorted(found) == sorted((name, start) for name in names for start in starts)
        assert found != sorted(found)
    first, second = (RealClips(clips(videos), replace(protocol, num_samples=9), 0, repeat).draws for repeat in (0, 1))
    assert sorted(first + second) == sorted(real.draws)
    with pytest.raises(ValueError, match="18 windows 2 apart, test needs 27"):
        RealClips(clips(videos), replace(protocol, num_samples=9), 0, 2)


def test_crops_along_the_longer_side(videos: Path) -> None:
    """20x24 at short side 16 is 16x19: crops at columns 0, 1 and 3."""
    protocol = replace(PROTOCOL, num_samples=0, real=RealSet("even", per_video=2, crops=3))
    real = RealClips(clips(videos), protocol, seed=0)
    identities = [real.draw(number)[1] for number in range(6)]
    assert [(identity.frames[0], identity.left) for identity in identities] == [
        (start, left) for start in (0, 4) for left in (0, 1, 3)
    ]
    assert len(real) == NUM_VIDEOS * 6


def test_random_clips_of_the_first_videos_cut_in_the_middle(videos: Path) -> None:
    protocol = replace(PROTOCOL, real=RealSet(random_crop=False, first_videos=2))
    identities = [RealClips(clips(videos), protocol, 0).draw(number)[1] for number in range(10)]
    assert {identity.path for identity in identities} == {clips(videos).name(0), clips(videos).name(1)}
    listed = clips(videos)
    listed.records = listed.records[::-1]  # as a prepared set lists its splits one after the other
    assert {RealClips(listed, protocol, 0).draw(number)[1].path for number in range(10)} == {
        identity.path for identity in identities
    }
    assert {(identity.top, identity.left, identity.flipped) for identity in identities} == {(0, 1, False)}
    assert len({identity.frames[0] for identity in identities}) > 2
    flipped = replace(PROTOCOL, real=RealSet(flip=True))
    assert {RealClips(clips(videos), flipped, 0).draw(number)[1].flipped for number in range(10)} == {True, False}


def test_samples_go_through_the_clips_again_and_again(videos: Path, tmp_path: Path) -> None:
    """As MAGVIT's repeats do, one long run cut into parts; and clips count as often as they were used, if wanted."""
    protocol = replace(PROTOCOL, num_samples=4, repeats=2, real=RealSet("first"))
    parts = [RealClips(clips(videos), protocol, 0, repeat).of_sample for repeat in range(2)]
    assert parts == [[0, 1, 2, 3], [4, 5, 0, 1]]
    protocol = replace(protocol, num_samples=10, repeats=1, metrics=("frechet_distance",))
    each, used = (
        run(videos, tmp_path / str(as_used), replace(protocol, real=RealSet("first", as_used=as_used)))
        for as_used in (False, True)
    )
    counts = [FeatureStatistics.load(tmp_path / f"{name}" / "real-0.features.npz")[0].count for name in (False, True)]
    assert counts == [6, 10]
    assert each.scores != used.scores


def test_shuffled_repeats_are_of_all_classes(videos: Path) -> None:
    """Past bug: the first 50,000 of Kinetics-600's clips, in the list's order, were of 168 of its 600 classes."""
    real = RealSet("even", per_video=2, crops=3, shuffled=True)
    protocol = replace(PROTOCOL, num_samples=12, repeats=3, real=real)
    parts = [RealClips(clips(videos), protocol, seed, repeat).of_sample for seed in (0, 1) for repeat in range(3)]
    assert parts[:3] == parts[3:]
    assert sorted(parts[0] + parts[1] + parts[2]) == list(range(36))
    assert all(len({clip // 12 for clip in part}) == 3 for part in parts)  # two videos of a class lie together
    assert all(
        PROTOCOLS[f"magvit-{name}"].real.shuffled
        for name in ("kinetics600", "ssv2-nine-tasks", "nuscenes", "objectron")
    )


def test_the_best_of_several_samples_of_a_clip() -> None:
    """Table 3: the best of 100 a video; 12 samples take 4 clips in turn, from whichever clip they begin."""
    values = torch.tensor([1.0, 5, 2, 9, 4, 3, 8, 0, 2, 2, 2, 2])
    protocol = PROTOCOLS["magvit-bair-quality"]
    setting = Setting(protocol, (16, 64, 64), (), samples=12, reals=4, codebook_size=0)
    for name in ("psnr_best", "ssim_best"):
        assert METRICS[name].of_repeat(values, None, setting) == (4 + 5 + 8 + 9) / 4
        METRICS[name].check(setting)
        for samples in (4, 13):
            with pytest.raises(ValueError, match="needs several samples of each of the 4 real clips, and there are"):
                METRICS[name].check(setting._replace(samples=samples))


def test_covariances_divided_by_n(videos: Path, tmp_path: Path) -> None:
    protocol = replace(PROTOCOL, metrics=("frechet_distance",))
    unbiased, biased = (
        run(videos, tmp_path / str(unbiased), replace(protocol, unbiased=unbiased)).scores[0].mean
        for unbiased in (True, False)
    )
    rows = [
        features.load(tmp_path / "True" / name, 10, ["features"])["features"] for name in ("real-0", "reconstruction-0")
    ]
    of_means = (rows[0].double().mean(0) - rows[1].double().mean(0)).square().sum().item()
    assert biased - of_means == pytest.approx((unbiased - of_means) * 9 / 10)


def test_what_the_networks_see() -> None:
    video = torch.rand(2, 3, 8, 16, 16, generator=torch.Generator().manual_seed(0))

    def seen(pixels: Pixels) -> tuple[torch.Tensor, ...]:
        return tuple(
            column.compute(Samples(video, pixels), lambda shown: shown) for column in (I3D_LOGITS, OWN_FEATURES)
        )

    assert all(torch.equal(shown, video) for shown in seen(Pixels()))
    resized = seen(Pixels(resize_first=12, i3d_resize="half_pixel"))
    assert [shown.shape[3:] for shown in resized] == [(224, 224), (12, 12)]
    rounded, cut = (Samples(video, Pixels(eight_bit=how)).shown * 255 for how in ("round", "truncate"))
    assert torch.allclose(rounded, (video * 255).round(), atol=1e-4)
    assert torch.allclose(cut, (video * 255).floor(), atol=1e-4)


def test_fingerprint_knows_names_classes_and_contents(videos: Path, tmp_path: Path) -> None:
    shutil.copytree(videos, tmp_path / "copy")
    assert fingerprint(clips(tmp_path / "copy")) == fingerprint(clips(videos))
    (tmp_path / "copy" / CLASSES[0] / "0.mp4").rename(tmp_path / "copy" / CLASSES[1] / "0.mp4")
    moved = fingerprint(clips(tmp_path / "copy"))
    assert moved != fingerprint(clips(videos))
    shutil.copy(videos / CLASSES[1] / "1.mp4", tmp_path / "copy" / CLASSES[1] / "0.mp4")  # other contents
    assert fingerprint(clips(tmp_path / "copy")) not in (moved, fingerprint(clips(videos)))


def test_protocols_are_possible() -> None:
    for name, protocol in PROTOCOLS.items():
        assert (protocol.real.resize == "tf_bilinear") == name.startswith("magvit-")
        assert not protocol.real.flip
        assert protocol.name == name
        assert set(protocol.metrics) <= METRICS.keys()
        assert protocol.source
    for wrong in ({"num_samples": -1}, {"repeats": 0}, {"tasks": ("frame_prediction",)}, {"metrics": ()}):
        with pytest.raises(ValueError, match=r"expected|no metrics"):
            replace(PROTOCOL, **wrong)


# --- numbers


def test_numbers_are_those_of_the_clips(videos: Path, tmp_path: Path) -> None:
    """All of them computed here once more, from the clips themselves."""
    found = numbers(run(videos, tmp_path / "out", batch_size=4))
    pipe, real = tiny_pipeline(), RealClips(clips(videos), PROTOCOL, seed=0)
    originals = torch.stack([real[number]["video"] for number in range(10)])
    tokens = pipe.tokenizer.encode(originals)
    with torch.no_grad():
        copies = pipe.tokenizer.decode(tokens)
    errors = (originals - copies).square().mean(dim=(1, 3, 4))
    assert found["reconstruction", "psnr"] == pytest.approx((-10 * errors.log10()).mean().item(), abs=1e-4)
    assert found["reconstruction", "codebook_usage"] == len(tokens.unique()) / 32
    a, b = (FeatureStatistics.of(mean_colours(videos)) for videos in (copies, originals))
    assert found["reconstruction", "frechet_distance"] == pytest.approx(frechet_distance(a, b), rel=1e-4)


def test_a_folder_against_itself_and_against_worse_copies(videos: Path, tmp_path: Path) -> None:
    """Identity is 0, infinite, 1; more noise is further away, in every metric."""
    protocol = replace(
        PROTOCOL, subject="folder", metrics=("frechet_distance", "psnr", "ssim"), num_samples=0, real=RealSet("first")
    )
    found = [numbers(run(videos, tmp_path / "same", protocol, of_folder(clips(videos))))]
    assert found[0]["folder", "frechet_distance"] == pytest.approx(0, abs=1e-9)
    assert (found[0]["folder", "psnr"], found[0]["folder", "ssim"]) == (math.inf, pytest.approx(1))
    assert Results.load(tmp_path / "same").scores[1].mean == math.inf
    for level in (0.05, 0.2):
        for path in videos.rglob("*.mp4"):
            index = int(path.stem)
            noise = torch.randn(3, 12, 20, 24, generator=torch.Generator().manual_seed(index)) * level
            video = (MovingShapes((12, 20, 24), seed=3)[index]["video"] + noise).clamp(0, 1)
            write_video(tmp_path / str(level) / path.relative_to(videos), video)
        subject = of_folder(clips(tmp_path / str(level)))
        found.append(numbers(run(videos, tmp_path / f"out{level}", protocol, subject)))
    for metric in protocol.metrics:
        values = [of_folder["folder", metric] for of_folder in found]
        assert values == sorted(values, reverse=METRICS[metric].higher_is_better)
        assert len(set(values)) == 3


@pytest.mark.parametrize("rule", ["first", "center", "random", "windows"])
def test_pairs_are_of_the_same_videos_in_every_repeat(videos: Path, tmp_path: Path, rule: Any) -> None:
    """Past bug: the real clips went on in a later repeat and the others began anew."""
    protocol = replace(PROTOCOL, subject="folder", metrics=("ssim",), num_samples=3, repeats=2, real=RealSet(rule))
    results = run(videos, tmp_path / "same", protocol, of_folder(clips(videos)))
    assert (results.scores[0].repeats, results.notes) == ((pytest.approx(1), pytest.approx(1)), ())
    shutil.copytree(videos, tmp_path / "fewer")
    (tmp_path / "fewer" / clips(videos).name(NUM_VIDEOS - 1)).unlink()  # pairs of repeat 0 alone may be right
    (note,) = run(videos, tmp_path / "out", protocol, of_folder(clips(tmp_path / "fewer"))).notes
    assert note.endswith("took the clips in order: their names differ")


def test_generation_and_the_average_over_tasks(videos: Path, tmp_path: Path) -> None:
    tasks = ("frame_prediction", "class_generation")
    protocol = replace(PROTOCOL, subject="generation", tasks=tasks, metrics=("frechet_distance", "psnr"), repeats=2)
    protocol = replace(protocol, decoding=Decoding(num_steps=2), num_samples=5)
    subject = of_pipeline(tiny_pipeline(), protocol, list(CLASSES))
    results = run(videos, tmp_path, protocol, subject)
    found = {(score.task, score.metric): score for score in results.scores}
    assert {task for task, _ in found} == {*tasks, "average"}
    for metric in protocol.metrics:
        of_tasks = [found[task, metric].repeats for task in tasks]
        average = found["average", metric]
        assert average.repeats == pytest.approx([sum(column) / 2 for column in zip(*of_tasks, strict=True)])
        assert average.std == pytest.approx(abs(average.repeats[0] - average.repeats[1]) / 2)
        assert average.repeats[0] != average.repeats[1]
    assert results.per_class["class_generation"]["psnr"].keys() <= set(CLASSES)
    samples = sorted(path.relative_to(tmp_path).as_posix() for path in (tmp_path / "samples").rglob("*.*"))
    assert samples[:2] == ["samples/class_generation.png", "samples/class_generation/0.mp4"]


def test_a_protocol_in_parts_is_one_table_with_the_mean_of_all_tasks(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the ten tasks on SSv2, of which class generation has real clips of its own."""
    nine = replace(
        PROTOCOL,
        name="nine",
        subject="generation",
        tasks=("frame_prediction", "inpainting_central"),
        metrics=("psnr",),
        num_samples=3,
        clip_shape=CLIP_SHAPE,
        real=RealSet("first", split=""),
        decoding=Decoding(num_steps=1),
    )
    one = replace(nine, name="one", source="theirs", tasks=("class_generation",), real=RealSet(split=""))
    monkeypatch.setitem(published.IN_PARTS, "ten", (nine, one))
    tiny_pipeline().save_pretrained(tmp_path / "model")
    command = ["evaluate", "--model", str(tmp_path / "model"), "--data", str(videos), "--protocol", "ten", "--output"]
    assert main([*command, str(tmp_path / "out")]) == 0
    results = Results.load(tmp_path / "out")
    found = numbers(results)
    tasks = (*nine.tasks, *one.tasks)
    assert list(found) == [(task, "psnr") for task in (*tasks, "average")]
    assert found["average", "psnr"] == pytest.approx(sum(found[task, "psnr"] for task in tasks) / 3)
    assert Results.load(tmp_path / "out" / "one").scores[0] in results.scores
    assert main([*command, str(tmp_path / "out")]) == 0  # gone on with
    assert main([*command, str(tmp_path / "cg"), "--tasks", "CG"]) == 0
    assert "Not comparable with protocol ten: the tasks are class_generation" in capsys.readouterr().out
    assert main([*command, str(tmp_path / "ug"), "--tasks", "UG"]) == 2
    assert "protocol ten has no task unconditional, but frame_prediction" in capsys.readouterr().err
    assert main([*command, str(tmp_path / "out"), "--tasks", "FP"]) == 2
    assert "holds another evaluation" in capsys.readouterr().err


def test_each_sample_is_the_pipeline_s_own(videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Class of its real clip, found by name among the model's; a seed of its own. The batch is the evaluation's."""
    protocol = replace(
        PROTOCOL, subject="generation", tasks=("class_generation",), metrics=("frechet_distance",), num_samples=4
    )
    subject = of_pipeline(tiny_pipeline(tuple(reversed(CLASSES))), protocol, list(CLASSES))
    seen: list[tuple[list[int], torch.Tensor]] = []
    sampler = subject.samplers["class_generation"]

    def spy(batch, seeds):
        made = sampler(batch, seeds)
        seen.append((batch["label"].tolist(), made.video))
        assert len(set(seeds)) == len(seeds)
        alone = sampler({"label": batch["label"][-1:]}, seeds[-1:])
        assert torch.equal(alone.tokens, made.tokens[-1:])
        return made

    passes: list[int] = []
    hook = torch.nn.modules.module.register_module_forward_pre_hook(
        lambda module, given: passes.append(len(given[0])) if isinstance(module, MaskedTransformer) else None
    )
    monkeypatch.setattr("magvit.pipeline.TOKENS_AT_ONCE", 1)
    read: list[int] = []
    take = ClipFolder.take
    monkeypatch.setattr(ClipFolder, "take", lambda *args: read.append(args[1]) or take(*args))
    run(videos, tmp_path, protocol, replace(subject, samplers={"class_generation": spy}), batch_size=3)
    hook.remove()
    assert max(passes) == 3
    assert len(read) == 4 + 3  # real clips for their statistics, and what the picture shows; samples take labels alone
    real = RealClips(clips(videos), protocol, 0)
    assert [label for labels, _ in seen for label in labels] == [real[number]["label"] for number in range(4)]


def test_a_tokenizer_of_single_frames_does_clips_of_any_number_of_frames(videos: Path, tmp_path: Path) -> None:
    """Each frame as it would by itself. Generation keeps to the model's own clips."""
    config = TokenizerConfig(2, 32, (1, 1, 1), num_res_blocks=1, codebook_size=32, codebook_dim=8)
    model = ModelConfig(tokenizer=config, clip_shape=(1, 16, 16))
    pipe = MagvitPipeline(model, VideoTokenizer(config))
    pipe.save_pretrained(tmp_path / "model")
    command = ["evaluate", "--model", str(tmp_path / "model"), "--data", str(videos), "--protocol", "reconstruction"]
    command += ["--metrics", "psnr", "--clip-shape", "5", "16", "16"]
    assert main([*command, "--output", str(tmp_path / "out")]) == 0
    real = torch.stack([clips(videos, (5, 16, 16)).take(index)[0]["video"] for index in range(NUM_VIDEOS)])
    frames = real.transpose(1, 2).flatten(0, 1)[:, :, None]
    with torch.no_grad():
        errors = (frames - pipe.tokenizer.reconstruct(frames)).square().mean(dim=(1, 2, 3, 4))
    (score,) = Results.load(tmp_path / "out").scores
    assert score.mean == pytest.approx((-10 * errors.log10()).mean().item(), abs=1e-4)
    tall = replace(PROTOCOLS["magvit-ucf101-reconstruction"], clip_shape=(16, 16, 16))
    made = of_pipeline(pipe, tall, []).samplers["reconstruction"]({"video": torch.rand(1, 3, 16, 16, 16)}, [0])
    assert made.video.shape == (1, 3, 16, 16, 16)
    with pytest.raises(ValueError, match=r"clip_shape is \(1, 16, 16\), test needs \(5, 24, 24\)"):
        of_pipeline(pipe, replace(PROTOCOL, clip_shape=(5, 24, 24)), [])
    generation = replace(PROTOCOL, subject="generation", tasks=("frame_prediction",), clip_shape=(5, 16, 16))
    with pytest.raises(ValueError, match=r"clip_shape is \(1, 16, 16\), test needs \(5, 16, 16\)"):
        of_pipeline(pipe, generation, [])


def test_a_metric_of_one_s_own(videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example of docs/evaluation.md: nothing but the object has to know of it."""
    page = (Path(__file__).parents[1] / "docs" / "evaluation.md").read_text(encoding="utf-8")
    code = page.split("## A metric of your own")[1].split("```python\n")[1].split("```")[0]
    names = {"Video": Video, "Tensor": torch.Tensor, "Metric": Metric, "pairs": pairs}
    exec(code.replace("\nMetric(", "\nmetric = Metric("), names)
    monkeypatch.setitem(METRICS, "flicker", names["metric"])
    protocol = replace(PROTOCOL, metrics=("flicker", "psnr"), num_samples=4)
    samplers = {  # a change of brightness does not flicker; frames that take turns in brightness do
        "dark": lambda batch, seeds: Sampled(batch["video"] / 2),
        "turns": lambda batch, seeds: Sampled((batch["video"] / 2).index_add(2, torch.arange(0, 8, 2), ones(batch))),
        "constant": lambda batch, seeds: Sampled(batch["video"] * 0),
    }
    real = RealClips(clips(videos), protocol, seed=0)
    changes = torch.stack([real[number]["video"] for number in range(4)]).diff(dim=2)

    def ones(batch: Any) -> torch.Tensor:
        return torch.full_like(batch["video"][:, :, ::2], 0.5)

    results = run(videos, tmp_path, protocol, Subject(samplers, {}))
    found = {score.task: score for score in results.scores if score.metric == "flicker"}
    assert found["constant"].mean == pytest.approx(changes.abs().mean().item(), rel=1e-5)
    assert found["dark"].mean == pytest.approx(changes.abs().mean().item() / 2, rel=1e-5)
    signs = torch.tensor([-0.5, 0.5]).repeat(4)[:7].view(1, 1, 7, 1, 1)
    assert found["turns"].mean == pytest.approx((changes / 2 - signs).abs().mean().item(), rel=1e-5)
    assert found["dark"].interval is not None
    assert results.per_class["dark"].keys() == {"flicker", "psnr"}
    assert list(compare(results, results))[2].startswith("| dark | flicker |")


# --- interrupted, in parts, reused


def test_batches_parts_and_interruptions_change_nothing(videos: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(features, "CHUNK", 4)
    whole = run(videos, tmp_path / "whole", batch_size=3)
    for part in ((0, 2), (1, 2)):
        evaluation = Evaluation(PROTOCOL, clips(videos), reconstruction(), NETWORKS)
        assert evaluate(evaluation, tmp_path / "parts", Work(CPU, part=part)) is None
    assert numbers(run(videos, tmp_path / "parts")) == pytest.approx(numbers(whole), rel=1e-5)
    (tmp_path / "parts" / "reconstruction-0" / "000001.safetensors").unlink()
    (tmp_path / "parts" / "results.json").unlink()
    asked: list[int] = []
    subject = reconstruction()
    inner = subject.samplers["reconstruction"]

    def spy(batch, seeds):
        asked.append(len(seeds))
        return inner(batch, seeds)

    again = run(videos, tmp_path / "parts", subject=replace(subject, samplers={"reconstruction": spy}), batch_size=2)
    assert asked == [2, 2]  # the four samples that were missing
    for ours, theirs in zip(again.scores, whole.scores, strict=True):
        assert ours.mean == pytest.approx(theirs.mean, rel=1e-5)


def test_a_part_alone_is_not_a_result(videos: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(features, "CHUNK", 4)
    evaluate(Evaluation(PROTOCOL, clips(videos), reconstruction(), NETWORKS), tmp_path, Work(CPU, part=(0, 2)))
    with pytest.raises(ValueError, match=r"lacks 000001\.safetensors"):
        features.load(tmp_path / "reconstruction-0", 10, ["psnr"])
    with pytest.raises(ValueError, match=r"000000\.safetensors has no lpips: remove it"):
        features.load(tmp_path / "reconstruction-0", 4, ["psnr", "lpips"])
    (tmp_path / "reconstruction-0" / "000000.safetensors").write_bytes(b"torn")
    with pytest.raises(ValueError, match=r"000000\.safetensors is damaged: remove it"):
        features.load(tmp_path / "reconstruction-0", 10, ["psnr"])


def test_a_flipped_bit_in_the_features_is_told(videos: Path, tmp_path: Path) -> None:
    run(videos, tmp_path / "out")
    path = next((tmp_path / "out").glob("*/000000.safetensors"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"000000\.safetensors is damaged: remove it"):
        run(videos, tmp_path / "out")


def test_parts_may_take_a_folder_together_and_a_killed_beginning_is_gone_on_with(videos: Path, tmp_path: Path) -> None:
    for wanted in range(8):
        fork = multiprocessing.get_context("fork")
        beginnings = [fork.Process(target=_take_folder, args=(tmp_path / str(wanted), {"a": 1})) for _ in range(4)]
        for beginning in beginnings:
            beginning.start()
        for beginning in beginnings:
            beginning.join()
        assert [beginning.exitcode for beginning in beginnings] == [0] * 4
        assert json.loads((tmp_path / str(wanted) / "config.json").read_text()) == {"kind": "evaluation", "a": 1}
    (tmp_path / "killed").mkdir()
    (tmp_path / "killed" / ".here-77.config.json").write_text("{")
    run(videos, tmp_path / "killed")
    _take_folder(tmp_path / "1", {"a": 2})  # nothing was computed yet: the corrected command may use it
    assert json.loads((tmp_path / "1" / "config.json").read_text()) == {"kind": "evaluation", "a": 2}


def test_a_folder_that_moved_is_the_same(videos: Path, tmp_path: Path) -> None:
    run(videos, tmp_path / "out")
    shutil.copytree(videos, tmp_path / "moved")
    assert numbers(run(tmp_path / "moved", tmp_path / "out")) == numbers(run(videos, tmp_path / "out"))


def test_another_evaluation_is_refused(videos: Path, tmp_path: Path) -> None:
    run(videos, tmp_path / "out")
    with pytest.raises(ValueError, match="holds another evaluation, with another seed: choose another output"):
        run(videos, tmp_path / "out", seed=1)
    parts = {"protocol": "ten", "parts": ["nine", "one"]}
    _take_folder(tmp_path / "ten", parts)
    run(videos, tmp_path / "ten" / "nine")  # the first part of two, whose features lie one level deeper
    with pytest.raises(ValueError, match="holds another evaluation, with another protocol and"):
        run(videos, tmp_path / "ten")
    _take_folder(tmp_path / "ten", parts)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.txt").touch()
    (tmp_path / "folders" / "mine").mkdir(parents=True)
    for name in ("other", "folders"):
        with pytest.raises(ValueError, match="holds something else"):
            run(videos, tmp_path / name)
        assert not (tmp_path / name / "config.json").exists()


def test_statistics_of_another_evaluation_stand_for_its_real_clips(videos: Path, tmp_path: Path) -> None:
    first = numbers(run(videos, tmp_path / "a"))
    again = numbers(run(videos, tmp_path / "b", statistics=tmp_path / "a"))
    assert again == pytest.approx(first)
    assert not (tmp_path / "b" / "real-0").exists()
    with pytest.raises(ValueError, match="is of other real clips: another clips"):
        run(videos, tmp_path / "c", replace(PROTOCOL, num_samples=9), statistics=tmp_path / "a")
    with pytest.raises(FileNotFoundError, match="no feature statistics"):
        run(videos, tmp_path / "d", statistics=tmp_path / "nowhere")


def test_what_a_protocol_leaves_to_the_model_is_compared(videos: Path, tmp_path: Path) -> None:
    """Past bug: the clip shape and the frames given left open by the protocol were not compared."""

    def evaluated(name: str, shape: tuple[int, int, int], frames: int, **options: Any) -> Results:
        same = Subject({"same": lambda batch, seeds: Sampled(batch["video"])}, {}, condition_frames=frames)
        protocol = replace(PROTOCOL, metrics=("frechet_distance", "psnr"))
        evaluation = Evaluation(protocol, clips(videos, shape), same, NETWORKS, **options)
        results = evaluate(evaluation, tmp_path / name, Work(CPU))
        assert results is not None
        return results

    large, small = evaluated("large", (8, 16, 16), 1), evaluated("small", (4, 12, 12), 2)
    assert [line for line in compare(large, small) if "WARNING" in line] == [
        "WARNING: protocol clip_shape differs: 8 16 16 and 4 12 12",
        "WARNING: protocol condition_frames differs: 1 and 2",
    ]
    with pytest.raises(ValueError, match="is of other real clips: another clips"):
        evaluated("other", (4, 12, 12), 2, statistics=tmp_path / "large")
    with pytest.raises(ValueError, match="with another protocol: choose another output"):
        evaluated("large", (4, 12, 12), 1)
    config, path = tmp_path / "large" / "config.json", tmp_path / "large" / "real-0.features.npz"
    said = json.loads(config.read_text())
    said["protocol"] |= {"clip_shape": None, "condition_frames": None}  # as earlier versions wrote it
    config.write_text(json.dumps(said))
    statistics, about = FeatureStatistics.load(path)
    statistics.save(path, about | {"clips": about["clips"] | {"clip_shape": None}})
    evaluated("again", (8, 16, 16), 1, statistics=tmp_path / "large")
    assert evaluated("large", (8, 16, 16), 1).scores == large.scores


def test_real_clips_go_through_the_networks_that_need_them_only(videos: Path, tmp_path: Path) -> None:
    """Past bug: statistics were looked for of networks that see no real clips alone, such as LPIPS and C3D."""
    seen: list[int] = []

    def logits(video: Video) -> torch.Tensor:
        seen.append(len(video))
        return torch.linspace(0, 1, 12).view(3, 4)[torch.arange(len(video)) % 3]

    both = Networks({**NETWORKS.modules, "c3d": logits}, {**NETWORKS.hashes, "c3d": "1", "alexnet": "2"})
    protocol = replace(PROTOCOL, metrics=("frechet_distance", "inception_score", "psnr"))
    subject = Subject({"same": lambda batch, seeds: Sampled(batch["video"])}, {})
    shapes = SyntheticVideos("synthetic:shapes", (16, 16, 16))
    for name, statistics in (("a", None), ("b", tmp_path / "a")):
        evaluation = Evaluation(protocol, shapes, subject, both, statistics=statistics)
        assert evaluate(evaluation, tmp_path / name, Work(CPU)) is not None
    assert sum(seen) == 2 * PROTOCOL.num_samples
    assert "c3d" not in load_file(tmp_path / "a" / "real-0" / "000000.safetensors")


# --- what is refused


def test_models_that_cannot_do_it_are_refused(videos: Path) -> None:
    generation = replace(PROTOCOL, subject="generation", tasks=("class_generation",))
    with pytest.raises(ValueError, match="the data has 'swim', which is none of them"):
        of_pipeline(tiny_pipeline(), generation, ["walk", "swim"])
    with pytest.raises(ValueError, match="and the data has none"):
        of_pipeline(tiny_pipeline(), generation, [])
    with pytest.raises(ValueError, match=r"the model's clip_shape is \(8, 16, 16\), test needs \(16, 128, 128\)"):
        of_pipeline(tiny_pipeline(), replace(PROTOCOL, clip_shape=(16, 128, 128)), [])
    with pytest.raises(ValueError, match="the model's condition_frames is 1, test needs 5"):
        of_pipeline(tiny_pipeline(), replace(generation, tasks=("frame_prediction",), condition_frames=5), [])


def test_what_folders_cannot_give_is_refused_before_any_work(videos: Path, tmp_path: Path) -> None:
    folders = replace(PROTOCOL, subject="folder", num_samples=0, real=RealSet("first"))

    def refused(said: str, changes: dict[str, Any], shape: tuple[int, int, int] = CLIP_SHAPE, **options: Any) -> None:
        fake = of_folder(clips(options.pop("fake", videos), shape))
        with pytest.raises(ValueError, match=said):
            Begun(
                Evaluation(replace(folders, **changes), clips(videos, shape), fake, NETWORKS, **options),
                tmp_path / "out",
            )
        assert not (tmp_path / "out").exists()

    refused("codebook_usage needs a model", {"metrics": ("codebook_usage",)})
    refused("kvd needs the features of the real clips", {"metrics": ("kvd",)}, (12, 16, 16), statistics=tmp_path)
    refused("clips are 8x8x8, ssim needs at least 1x11x11", {"metrics": ("ssim",)}, (8, 8, 8))
    refused("clips are 8x16x16, fvd needs at least 9x1x1", {"metrics": ("fvd",)})
    refused("clips have 12 frames, inception_score needs 16", {"metrics": ("inception_score",)}, (12, 16, 16))
    refused("there are 6 samples, fvd_infinity needs at least 802", {"metrics": ("fvd_infinity",)}, (12, 16, 16))
    refused("there are 1 samples, psnr needs at least 2", {"metrics": ("psnr",), "num_samples": 1})
    refused("there are 1 real clips, frechet_distance needs at least 2", {"real": RealSet(count=1), "num_samples": 3})
    refused("needs the classes of synthetic:shapes, and the data has 'jump'", {"metrics": ("synthetic_accuracy",)})
    refused("gives 6 clips, 9 are needed", {"num_samples": 9, "metrics": ("frechet_distance",)})
    for number in range(2):
        write_video(tmp_path / "few" / f"{number}.mp4", torch.rand(3, 12, 20, 24))
        write_video(tmp_path / "small" / f"{number}.mp4", torch.rand(3, 12, 12, 24))
    refused("psnr needs pairs, and there are 6 real clips and 2 others", {"metrics": ("psnr",)}, fake=tmp_path / "few")
    small = r"0\.mp4 is 12x24, smaller than the clips of 16x16"
    refused(small, {"metrics": ("frechet_distance",)}, fake=tmp_path / "small")
    named = replace(folders, metrics=("psnr",), num_samples=2)
    results = run(videos, tmp_path / "out", named, of_folder(clips(tmp_path / "few")))
    assert results.notes == ("psnr and other metrics of pairs took the clips in order: their names differ",)


def test_classes_go_by_name(tmp_path: Path) -> None:
    """Of folders whose classes have other numbers than the network's, or the other folder's."""
    for name, index in (("circle right", 0), ("square left", 5), ("square up", 7)):
        video = MovingShapes((16, 32, 32), seed=4)[index]["video"]
        write_video(tmp_path / "real" / name / f"{index}.mp4", video)
        if name != "circle right":
            write_video(tmp_path / "fake" / name / f"{index}.mp4", video)
    networks = load_networks(["synthetic_accuracy"], WeightFiles(), CPU)
    protocol = replace(
        PROTOCOL, subject="folder", num_samples=0, real=RealSet("first"), metrics=("synthetic_accuracy",)
    )
    for fake, accuracy in (
        ("real", {"circle right", "square left", "square up"}),
        ("fake", {"square left", "square up"}),
    ):
        subject = of_folder(clips(tmp_path / fake, (16, 32, 32)))
        real = clips(tmp_path / "real", (16, 32, 32))
        results = evaluate(Evaluation(protocol, real, subject, networks), tmp_path / f"out {fake}", Work(CPU))
        assert results is not None
        assert results.scores[0].mean == 1
        assert results.per_class["folder"]["synthetic_accuracy"] == dict.fromkeys(accuracy, 1.0)


@pytest.mark.parametrize("name", ["synthetic", "pushing"])
def test_of_a_class_shape_and_direction_are_told_apart(name: str) -> None:
    """Five clips under the names of others: same shape, same direction, neither; and of a class that is not known."""
    world = SYNTHETIC["pushing" if name == "pushing" else "shapes"]((16, 64, 64), 4)
    shown = torch.stack([world[index]["video"] for index in (4, 4, 4, 4, 7)])
    named = [*(world.classes[index] for index in (4, 5, 12, 9)), ""]
    metrics = [METRICS[f"{name}_{part}"] for part in ("accuracy", "shape_accuracy", "direction_accuracy")]
    networks = load_networks([metrics[0].name], WeightFiles(), CPU)
    column = metrics[0].column.compute(Samples(shown, classes=named), networks.modules[name])
    assert [metric.each(column) for metric in metrics] == [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 0, 1, 0, 0]]


def test_clips_without_a_class_are_refused_for_class_generation(videos: Path, tmp_path: Path) -> None:
    shutil.copytree(videos, tmp_path / "some")
    (tmp_path / "some" / CLASSES[0] / "0.mp4").rename(tmp_path / "some" / "0.mp4")
    protocol = replace(PROTOCOL, subject="generation", tasks=("class_generation",), metrics=("frechet_distance",))
    subject = of_pipeline(tiny_pipeline(), protocol, list(CLASSES))
    with pytest.raises(ValueError, match="needs a class for every real clip, and some have none"):
        run(tmp_path / "some", tmp_path / "out", protocol, subject)


def test_decoding_that_cannot_be_is_refused_with_the_model() -> None:
    generation = replace(PROTOCOL, subject="generation", tasks=("frame_prediction",))
    for changes in (
        {"decoding": Decoding(num_steps=2000)},
        {"decoding": None, "decoding_changes": {"num_steps": 2000}},
    ):
        with pytest.raises(ValueError, match="num_steps is 2000, expected 1 to 32"):
            of_pipeline(tiny_pipeline(), replace(generation, **changes), [])


def test_a_protocol_without_decoding_takes_the_models_own() -> None:
    pipe = tiny_pipeline()
    own = TaskDecoding("frame_prediction", Decoding(num_steps=3, order="halton"))
    config = replace(pipe.config, generator=replace(pipe.config.generator, task_decoding=(own,)))
    pipe = MagvitPipeline(config, pipe.tokenizer, pipe.transformer)
    open_protocol = replace(PROTOCOL, subject="generation", tasks=("frame_prediction", "unconditional"), decoding=None)
    used = of_pipeline(pipe, replace(open_protocol, decoding_changes={"top_k": 7}), []).made_of["decoding"]
    assert used["frame_prediction"] == asdict(own.decoding.changed(top_k=7))
    assert used["unconditional"] == asdict(Decoding(top_k=7))
    paper = of_pipeline(pipe, replace(open_protocol, decoding=Decoding()), []).made_of["decoding"]
    assert paper["frame_prediction"] == asdict(Decoding())


def test_metrics_of_both_sets_count_no_clip_twice(videos: Path, tmp_path: Path) -> None:
    """They take pairs of different clips; a clip that was used twice would pair with itself."""
    protocol = replace(
        PROTOCOL, metrics=("kvd", "precision", "recall"), num_samples=12, real=RealSet("first", as_used=True)
    )
    both = Networks({"i3d": mean_colours}, {"i3d": "1"})
    subject = Subject({"reversed": lambda batch, seeds: Sampled(batch["video"].flip(2) * 0.9)}, {})
    results = evaluate(Evaluation(protocol, clips(videos, (12, 16, 16)), subject, both), tmp_path, Work(CPU))
    assert results is not None
    real = features.load(tmp_path / "real-0", 6, ["i3d"])["i3d"]
    fake = features.load(tmp_path / "reversed-0", 12, ["i3d"])["i3d"]
    expected = [kernel_distance(fake, real), share_within(fake, real), share_within(real, fake)]
    assert [score.mean for score in results.scores] == pytest.approx(expected)


def test_nan_from_a_network_is_named(videos: Path, tmp_path: Path) -> None:
    broken = Networks({"features": lambda video: mean_colours(video) * math.nan}, {"features": "1"})
    with pytest.raises(ValueError, match=r"features of sample 0 of real-0 is not a number"):
        run(videos, tmp_path, networks=broken)


def test_networks_are_loaded_or_told(tmp_path: Path) -> None:
    files = WeightFiles(i3d=str(tmp_path / "no.pt"), lpips=str(tmp_path / "no"), features=str(tmp_path / "no.pt2"))
    for metric in ("fvd", "lpips", "frechet_distance"):
        with pytest.raises((OSError, ValueError), match="no"):
            load_networks([metric], files, CPU)
    with pytest.raises(ValueError, match="unknown metric 'fid', expected some of fvd"):
        load_networks(["fid"], WeightFiles(), CPU)
    with pytest.raises(ValueError, match="give it with --features PATH"):
        load_networks(["frechet_distance"], WeightFiles(), CPU)
    (tmp_path / "text.pt").write_text("no network")
    with pytest.raises(ValueError, match=r"text\.pt is neither"):
        load_networks(["frechet_distance"], WeightFiles(features=str(tmp_path / "text.pt")), CPU)


class Colours(torch.nn.Module):
    def forward(self, video: torch.Tensor) -> torch.Tensor:
        return video.mean(dim=(2, 3, 4))


@pytest.mark.parametrize("name", ["colours.pt", "colours.pt2"])
def test_a_network_of_one_s_own(tmp_path: Path, name: str) -> None:
    path, example = str(tmp_path / name), torch.rand(2, 3, 4, 8, 8)
    if name.endswith(".pt2"):
        batch = torch.export.Dim("batch")
        torch.export.save(torch.export.export(Colours(), (example,), dynamic_shapes=({0: batch},)), path)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # such files exist all the same
            torch.jit.trace(Colours(), example).save(path)
    networks = load_networks(["frechet_distance"], WeightFiles(features=path), CPU)
    assert networks.hashes["features"] == hashlib.sha256(Path(path).read_bytes()).hexdigest()
    with pytest.raises(ValueError, match=rf"{name} fails on clips of shape \(5, 3, 4, 8, 8\)|gives"):
        Own(name, torch.nn.Identity() if name.endswith("pt") else torch.nn.Linear(3, 3))(torch.rand(5, 3, 4, 8, 8))
    clip = torch.rand(5, 3, 4, 8, 8)
    assert torch.allclose(networks.modules["features"](clip), clip.mean(dim=(2, 3, 4)))


# --- files and commands


def some(mean: float, interval: float | None = None, protocol: str = "p", **made_of: Any) -> Results:
    score = Score("frame_prediction", "fvd", mean, 0.0, interval, (mean,), 100)
    return Results({"name": protocol, "source": "s", "num_samples": 100}, dict(made_of), {}, (score,))


def test_compare_warns_of_what_differs() -> None:
    assert list(compare(some(100.0), some(90.0)))[2:] == [
        "| frame_prediction | fvd | 100 | 90 | -10 | B is better, by an unknown margin |"
    ]
    assert "within the intervals" in list(compare(some(100.0, 8.0), some(90.0, 8.0)))[-1]
    assert list(compare(some(100.0, 2.0), some(90.0, 2.0)))[-1].endswith("| B is better |")
    assert list(compare(some(math.inf), some(math.inf)))[-1].endswith("| inf | inf | +0 |  |")
    other = replace(some(1.0), scores=())
    assert list(compare(some(1.0), other)) == ["no number is in both"]
    models = [some(1.0, subject={"tokenizer": name}, data={"folder": name, "sha256": "a"}) for name in ("x", "y")]
    assert not [line for line in compare(*models) if "WARNING" in line]  # two models on the same clips
    worked = [some(1.0, subject={"precision": name}) for name in ("float32", "bfloat16")]
    assert next(iter(compare(*worked))) == "WARNING: subject.precision differs: float32 and bfloat16"
    lines = list(compare(some(1.0, data="x"), some(1.0, protocol="q", data="y")))
    assert [line for line in lines if "WARNING" in line] == [
        "WARNING: protocol name differs: p and q",
        "WARNING: data differs: x and y",
    ]
    first, even = (
        replace(some(1.0), protocol={"name": "p", "real": {"rule": rule, "count": 3}}) for rule in ("a", "b")
    )
    assert next(iter(compare(first, even))) == "WARNING: protocol real.rule differs: a and b"
    noted = replace(some(1.0), notes=("too few samples",))
    assert "WARNING: A: too few samples" in list(compare(noted, some(1.0)))


def test_results_survive_their_file(videos: Path, tmp_path: Path) -> None:
    results = run(videos, tmp_path)
    loaded = Results.load(tmp_path)
    assert loaded.scores == results.scores
    assert loaded.per_class == results.per_class
    assert loaded.made_of["subject"]["tokenizer"] == weights_hash(tiny_pipeline().tokenizer)
    (tmp_path / "results.json").write_text("{}")
    with pytest.raises(ValueError, match="holds no results of this version"):
        Results.load(tmp_path)


def test_by_command(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_pipeline().save_pretrained(tmp_path / "model")
    common = [
        "evaluate",
        "--model",
        str(tmp_path / "model"),
        "--data",
        str(videos),
        "--metrics",
        "psnr",
        "synthetic_fd",
    ]
    trial = ["--num-samples", "6", "--num-steps", "2", "--allow-fewer"]
    assert main([*common, *trial, "--output", str(tmp_path / "a")]) == 0
    said = capsys.readouterr().out
    assert "Not comparable with protocol smoke: num_samples is 6, not 32" in said
    assert "| frame_prediction | synthetic_fd ↓ |" in said
    assert json.loads((tmp_path / "a" / "results.json").read_text())["protocol"]["clip_shape"] == list(CLIP_SHAPE)
    assert main([*common, *trial, "--devices", "2", "--output", str(tmp_path / "b")]) == 0
    ours, theirs = (Results.load(tmp_path / name).scores for name in ("a", "b"))
    assert [score.mean for score in ours] == pytest.approx([score.mean for score in theirs], rel=1e-4)
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    assert "WARNING: " in capsys.readouterr().out

    folders = ["evaluate", "--fake", str(videos), "--data", str(videos), "--clip-shape", "8", "16", "16"]
    assert main([*folders, "--metrics", "synthetic_fd", "ssim", "--output", str(tmp_path / "c")]) == 0
    capsys.readouterr()
    for number, said in (("1", "wrote nothing: part 1 of 2 of"), ("0", "wrote part 0 of 2 of")):  # past bug: no word
        assert main([*folders, "--metrics", "ssim", "--output", str(tmp_path / "d"), "--part", number, "2"]) == 0
        assert capsys.readouterr().out.startswith(f"{said} {tmp_path / 'd'}")
    (distance, likeness) = Results.load(tmp_path / "c").scores
    assert distance.mean == pytest.approx(0, abs=1e-6)
    assert likeness.mean == pytest.approx(1)


def test_fvd_by_command_is_that_of_i3d(videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Named rfvd for reconstructions, with weights from a file; the number is that of the network and the formula."""
    monkeypatch.setattr("magvit.metrics.i3d.SIZE", 64)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        i3d = I3D().eval()
    save_file(i3d.state_dict(), tmp_path / "i3d.safetensors")
    protocol = ["--protocol", "reconstruction", "--metrics", "fvd", "--i3d", str(tmp_path / "i3d.safetensors")]
    tiny_pipeline().save_pretrained(tmp_path / "model")
    command = ["evaluate", "--model", str(tmp_path / "model"), "--data", str(videos), *protocol]
    assert (
        main([*command, "--clip-shape", "8", "16", "16", "--output", str(tmp_path / "small")]) == 2
    )  # 9 frames or more
    pipe = tiny_pipeline()
    longer = replace(pipe.config, clip_shape=(12, 16, 16), generator=None, classes=())
    MagvitPipeline(longer, pipe.tokenizer).save_pretrained(tmp_path / "longer")
    command[2] = str(tmp_path / "longer")
    assert main([*command, "--output", str(tmp_path / "out")]) == 0
    (score,) = Results.load(tmp_path / "out").scores
    clip_folder = clips(videos, (12, 16, 16))
    real = torch.stack([clip_folder.take(index)[0]["video"] for index in range(NUM_VIDEOS)])
    with torch.no_grad():
        both = [FeatureStatistics.of(i3d(clip)) for clip in (real, pipe.tokenizer.reconstruct(real))]
    assert (score.metric, score.samples) == ("rfvd", NUM_VIDEOS)
    assert score.mean == pytest.approx(frechet_distance(*both), rel=1e-3)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"protocol": "fvd"}, "unknown protocol 'fvd', expected one of smoke"),
        ({"num_samples": 4}, "num_samples is 4, protocol smoke needs 32: add --allow-fewer"),
        ({"protocol": "magvit-bair", "num_real": 8}, "num_real is 8, protocol magvit-bair takes all there are"),
        ({"protocol": "magvit-ucf101", "num_real": 8}, "num_real is 8, protocol magvit-ucf101 needs 10000"),
        ({"fake": "x"}, "give one of --model, --baseline"),
        ({"model": None}, "give one of --model, --baseline"),
        ({"protocol": "folders"}, "protocol folders is for a folder of clips"),
        ({"part": (2, 2)}, "part is 2 of 2"),
        ({"devices": 0}, "devices is 0"),
        ({"metrics": ("fid",)}, "unknown metric 'fid'"),
        ({"tasks": ("fly",)}, "unknown task 'fly'"),
        ({"data": "nowhere"}, "nowhere"),
        ({"model": "nothing-here"}, "nothing-here"),
    ],
)
def test_bad_options_are_one_sentence(videos: Path, tmp_path: Path, changes: dict, said: str) -> None:
    tiny_pipeline().save_pretrained(tmp_path / "model")
    options = {"data": str(videos), "output": tmp_path / "out", "model": str(tmp_path / "model"), **changes}
    with pytest.raises((ValueError, OSError), match=said) as caught:
        Evaluate(**options).run()
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_features_keep_a_row_for_each_sample(videos: Path, tmp_path: Path) -> None:
    run(videos, tmp_path)
    arrays = load_file(tmp_path / "reconstruction-0" / "000000.safetensors")
    assert {name: len(array) for name, array in arrays.items()} == dict.fromkeys(
        ("features", "label", "psnr", "ssim", "tokens"), 10
    )
    assert isinstance(clips(videos), ClipSet)


def test_names_of_others_make_no_columns_lines_or_tags(tmp_path: Path) -> None:
    evil = "a | b\n# c <script>alert(1)</script> [d](javascript:e) `f`"
    good = some(1.0)
    table = replace(
        good,
        protocol={"name": evil, "source": evil},
        made_of={"clips": evil},
        notes=(evil,),
        scores=tuple(replace(score, task=evil) for score in good.scores),
        per_class={evil: {"psnr": {evil: 1.0, "plain": 2.0}}},
    ).table()
    assert not set("<>[]`") & set(table)
    plain = replace(good, made_of={"clips": "a"}, notes=("n",), per_class={"t": {"psnr": {"a": 1.0, "b": 2.0}}})
    assert len(table.splitlines()) == len(plain.table().splitlines())
    rows = [line for line in table.splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {8, 3}
