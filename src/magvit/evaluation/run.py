"""An evaluation from beginning to end: real clips, samples, features, numbers.

The output folder holds

    config.json                      what it is of
    real-0/, frame_prediction-0/ ... features of repeat 0, see `magvit.evaluation.features`
    real-0.i3d.npz ...               statistics of the real clips, which other evaluations can take
    samples/                         pictures of the first samples
    results.json, results.md         the numbers
"""

import json
import math
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

import magvit
from magvit import hub
from magvit.data.clip_set import ClipSet
from magvit.evaluation import features
from magvit.evaluation.checks import check_metrics, check_pairs
from magvit.evaluation.networks import Networks
from magvit.evaluation.protocols import Protocol
from magvit.evaluation.results import Results, Score
from magvit.evaluation.samples import RealClips, fingerprint
from magvit.evaluation.scores import METRICS, Real, by_class, networks_of_real, of_samples, score
from magvit.evaluation.subjects import Subject
from magvit.metrics.frechet import FeatureStatistics
from magvit.metrics.repeats import Repeats, over_repeats
from magvit.metrics.synthetic import CLASSES
from magvit.seeds import generator_for
from magvit.shapes import Video
from magvit.video import write_video
from magvit.video.contact_sheet import contact_sheet

SHOWN = 4  # samples of a task in its pictures
Bar = Callable[[str], features.Bar]


class _Batches(Dataset[dict[str, Any]]):
    """Item i: the real clip of sample i (or real clip i), if there are any; clip i of the other folder, if any."""

    def __init__(
        self, real: RealClips | None, fake: RealClips | None, samples: bool = True, classes: Sequence[str] = ()
    ):
        self.real, self.fake, self.samples, self.classes = real, fake, samples, list(classes)

    def _class_of(self, label: int) -> int:
        """The number among the real clips' classes of the other folder's class of the same name, or -1."""
        assert self.fake is not None
        name = self.fake.clips.classes[label] if label >= 0 else ""
        return self.classes.index(name) if name in self.classes else -1

    def __getitem__(self, number: int) -> dict[str, Any]:
        item: dict[str, Any] = {}
        if self.real:
            item = dict(self.real[self.real.of_sample[number] if self.samples else number])
        if self.fake:
            other = self.fake[number]
            item = {"label": self._class_of(other["label"]), **item, "fake": other["video"]}
        item.pop("index", None)
        return item


def evaluate(
    protocol: Protocol,
    clips: ClipSet,
    subject: Subject,
    networks: Networks,
    output: Path,
    *,
    seed: int = 0,
    batch_size: int = 8,
    num_workers: int = 0,
    device: torch.device,
    part: tuple[int, int] = (0, 1),
    statistics: Path | None = None,
    notes: tuple[str, ...] = (),
    bar: Bar = lambda _: iter,
) -> Results | None:
    """Compute what is missing in `output`, and from all of it the numbers; only features, for a part of several.

    Args:
        protocol: how.
        clips: the real ones, not yet drawn; of the shape and stride that the protocol says.
        subject: what is evaluated.
        networks: those of the protocol's metrics.
        output: folder; one of the same evaluation is gone on with.
        seed: of the random real clips and of the samples.
        part: `(i, n)`: this process's share of the files of features.
        statistics: output folder of another evaluation, whose statistics of the same real clips are taken.
        notes: what keeps the numbers from being the protocol's.
        bar: makes a progress bar of a name.

    Raises:
        ValueError: the folder holds another evaluation; a clip cannot be used; too few samples; NaN.
        OSError: something cannot be read or written.
    """
    check_metrics(protocol, clips, subject, statistics is not None)
    data = {"folder": clips.folder, "sha256": fingerprint(clips)}
    made_of = {"subject": subject.made_of, "data": data, "networks": networks.hashes, "seed": seed}
    repeats = range(protocol.repeats)
    reals = [RealClips(clips, protocol, seed, repeat) for repeat in repeats]
    fakes = [RealClips(subject.clips, protocol, seed, repeat) for repeat in repeats] if subject.clips else None
    count = protocol.num_samples or len(fakes[0] if fakes else reals[0].of_sample)
    if count < 2:
        raise ValueError(f"there are {count} samples, expected at least 2")
    if fakes:
        notes = (*notes, *check_pairs(protocol, reals[0], fakes[0], count))
    about = _about(protocol, made_of)
    given = [_given(statistics, repeat, about) for repeat in repeats] if statistics else None
    _begin(output, {"protocol": asdict(protocol), **_contents(made_of)})
    drawn = protocol.real.rule in ("random", "windows")  # other clips in each repeat
    paired = [metric for metric in protocol.metrics if METRICS[metric].paired]
    needed = networks_of_real(protocol.metrics)
    of_reals = {name: network for name, network in networks.features.items() if name in needed}
    make = partial(features.collect, batch_size=batch_size, part=part)
    load = partial(_batches, num_workers=num_workers, device=device)

    def of_real(real: RealClips, batches: list[list[int]]) -> Iterator[features.Arrays]:
        for batch in load(_Batches(real, None, samples=False), batches):
            with torch.inference_mode():
                arrays = features.of_clips(batch["video"], of_reals, protocol.pixels)
            yield arrays

    for repeat, real in enumerate(reals[: None if drawn else 1] if given is None and of_reals else ()):
        name = f"real-{repeat}"
        make(output / name, len(real), compute=partial(of_real, real), bar=bar(name))

    def of_fakes(
        task: str, repeat: int, real: RealClips, fake: RealClips | None, batches: list[list[int]]
    ) -> Iterator[features.Arrays]:
        both = _Batches(None if fake and not paired else real, fake, classes=clips.classes)
        for numbers, batch in zip(batches, load(both, batches), strict=True):
            seeds = [generator_for(seed, repeat, number).initial_seed() for number in numbers]
            made = subject.samplers[task](batch, seeds)
            with torch.inference_mode():
                arrays = features.of_clips(made.video, networks.features, protocol.pixels)
                if paired:
                    arrays |= features.of_pairs(batch["video"], made.video, networks.lpips, paired)
            arrays["label"] = batch["label"].cpu()
            if "synthetic_accuracy" in protocol.metrics:
                names = [clips.classes[label] if label >= 0 else "" for label in batch["label"].tolist()]
                arrays["synthetic_label"] = torch.tensor(
                    [CLASSES.index(one) if one in CLASSES else -1 for one in names]
                )
            if made.tokens is not None and "codebook_usage" in protocol.metrics:
                arrays["tokens"] = made.tokens.flatten(1).int().cpu()
            if repeat == 0 and numbers[0] == 0:
                _show(output / "samples" / task, batch.get("video"), made.video)
            yield arrays

    for task in subject.samplers:
        for repeat in repeats:
            compute = partial(of_fakes, task, repeat, reals[repeat], fakes[repeat] if fakes else None)
            make(output / f"{task}-{repeat}", count, compute=compute, bar=bar(f"{task}-{repeat}"))
    if part[1] > 1:
        return None
    sides = given or [_real(output, repeat, real, about) for repeat, real in enumerate(reals)]
    results = _results(protocol, clips, subject, output, sides, count, made_of, notes)
    results.save(output)
    return results


def _begin(output: Path, config: dict[str, Any]) -> None:
    """Write what the folder is of, or find the same; a folder without any features yet may become another's."""
    config = json.loads(json.dumps(config))
    output.mkdir(parents=True, exist_ok=True)
    others = [path for path in output.iterdir() if not path.name.endswith(hub.CONFIG)]  # half-written ones end so too
    begun = "protocol" in (hub.load_config(output) if (output / hub.CONFIG).exists() else {})
    if not others or (begun and all(map(Path.is_dir, others)) and not any(output.glob("*/*.safetensors"))):
        with hub.written_whole(output / hub.CONFIG) as path:  # another part may be at the same, and writes the same
            path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    if not (output / hub.CONFIG).exists():
        raise ValueError(f"{output} holds something else: choose another output")
    stored = hub.load_config(output)
    if changed := [name for name in config if stored.get(name) != config[name]]:
        raise ValueError(
            f"{output} holds another evaluation, with another {' and '.join(changed)}: choose another output"
        )


def _contents(made_of: dict[str, Any]) -> dict[str, Any]:
    """Without the names of things, which may move."""
    return {
        part: {name: value for name, value in values.items() if name not in ("name", "folder")}
        if isinstance(values, dict)
        else values
        for part, values in made_of.items()
    }


def _batches(clips: _Batches, batches: list[list[int]], num_workers: int, device: torch.device) -> Iterator[Any]:
    loader = DataLoader(clips, batch_sampler=batches, num_workers=num_workers, generator=torch.Generator())
    for batch in loader:
        yield {name: value.to(device) if name != "label" else value for name, value in batch.items()}


def _show(place: Path, real: Video | None, fake: Video) -> None:
    """The first samples, beside their real clips: a picture and a video of each."""
    rows = []
    for number, sample in enumerate(fake[:SHOWN].float().cpu()):
        if real is not None:
            rows.append((f"real {number}", real[number].float().cpu()))
        rows.append((f"sample {number}", sample))
        write_video(place / f"{number}.mp4", sample)
    contact_sheet(rows).save(place.parent / f"{place.name}.png")


def _results(
    protocol: Protocol,
    clips: ClipSet,
    subject: Subject,
    output: Path,
    real: list[Real],
    count: int,
    made_of: dict[str, Any],
    notes: tuple[str, ...],
) -> Results:
    scores: list[Score] = []
    per_class: dict[str, dict[str, dict[str, float]]] = {}
    for task in subject.samplers:
        fakes = [features.load(output / f"{task}-{repeat}", count) for repeat in range(protocol.repeats)]
        for metric in protocol.metrics:
            values = [
                score(metric, real[repeat], fake, subject.codebook_size, made_of["seed"], protocol.unbiased)
                for repeat, fake in enumerate(fakes)
            ]
            spread = _spread(values)
            each = of_samples(metric, fakes[0]) if len(values) == 1 else None
            interval = _spread(each).interval if each else spread.interval
            name = "rfvd" if metric == "fvd" and protocol.subject == "reconstruction" else metric
            scores.append(Score(task, name, spread.mean, spread.std, interval, tuple(values), count))
            if clips.classes and (of_class := by_class(metric, fakes[0])):
                named = {clips.classes[label]: value for label, value in of_class.items() if label >= 0}
                per_class.setdefault(task, {})[name] = named
    if len(subject.samplers) > 1:
        scores += _averages(scores)
    versions = {"magvit": magvit.__version__, "torch": torch.__version__, "python": platform.python_version()}
    notes = (*notes, f"Not exactly the published protocol: {protocol.not_exact}") if protocol.not_exact else notes
    return Results(asdict(protocol), made_of, versions, tuple(scores), per_class, notes)


def _spread(values: list[float]) -> Repeats:
    """That of finite values; PSNR is infinite where clips are equal."""
    infinite = any(map(math.isinf, values))
    return Repeats(sum(values) / len(values), 0.0, None) if infinite else over_repeats(values)


def _averages(scores: list[Score]) -> Iterator[Score]:
    """Over the tasks, repeat by repeat."""
    for metric in dict.fromkeys(one.metric for one in scores):
        of_tasks = [one for one in scores if one.metric == metric]
        values = [sum(column) / len(column) for column in zip(*(one.repeats for one in of_tasks), strict=True)]
        spread = _spread(values)
        samples = sum(one.samples for one in of_tasks)
        yield Score("average", metric, spread.mean, spread.std, spread.interval, tuple(values), samples)


def _about(protocol: Protocol, made_of: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """By network, all that its features of the real clips depend on."""
    rule = {name: asdict(protocol)[name] for name in ("real", "pixels", "num_samples", "repeats", "clip_shape")}
    about = {"clips": rule, "data": made_of["data"]["sha256"], "seed": made_of["seed"]}
    needed = networks_of_real(protocol.metrics)
    hashes = {name: weights for name, weights in made_of["networks"].items() if name in needed}
    return {name: json.loads(json.dumps({**about, "network": weights})) for name, weights in hashes.items()}


def _real(output: Path, repeat: int, clips: RealClips, about: dict[str, dict[str, Any]]) -> Real:
    """Features and statistics of the real clips; the statistics are kept for other evaluations."""
    name = f"real-{repeat}"
    folder = output / (name if (output / name).is_dir() else "real-0")  # where all repeats have the same clips
    arrays = features.load(folder, len(clips)) if folder.is_dir() else {}
    used = clips.of_sample if clips.rule.as_used else slice(None)
    found = {network: FeatureStatistics.of(arrays[network][used]) for network in about}
    for network, of_network in found.items():
        of_network.save(output / f"{name}.{network}.npz", about[network])
    return Real(found, arrays)


def _given(evaluation: Path, repeat: int, about: dict[str, dict[str, Any]]) -> Real:
    """The statistics of another evaluation."""
    found = {}
    for network, wanted in about.items():
        path = evaluation / f"real-{repeat}.{network}.npz"
        found[network], stored = FeatureStatistics.load(path)
        if changed := [field for field, value in wanted.items() if stored.get(field) != value]:
            raise ValueError(f"{path} is of other real clips: another {' and '.join(changed)}")
    return Real(found, {})
