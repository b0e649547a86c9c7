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
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

import magvit
from magvit import hub
from magvit.data.clip import generator_for
from magvit.data.clip_set import ClipSet
from magvit.data.contact_sheet import contact_sheet
from magvit.data.video import write_video
from magvit.evaluation import features
from magvit.evaluation.networks import Networks
from magvit.evaluation.protocols import Protocol
from magvit.evaluation.results import Results, Score
from magvit.evaluation.samples import RealClips, fingerprint
from magvit.evaluation.scores import METRICS, Real, by_class, networks_of_real, of_samples, score
from magvit.evaluation.subjects import Subject
from magvit.metrics.frechet import FeatureStatistics
from magvit.metrics.repeats import Repeats, over_repeats
from magvit.shapes import Video

SHOWN = 4  # samples of a task in its pictures
Bar = Callable[[str], features.Bar]


class _Batches(Dataset[dict[str, Any]]):
    """Item i: the real clip of sample i (or real clip i), if there are any; clip i of the other folder, if any."""

    def __init__(self, real: RealClips | None, fake: RealClips | None, samples: bool = True):
        self.real, self.fake, self.samples = real, fake, samples

    def __getitem__(self, number: int) -> dict[str, Any]:
        item: dict[str, Any] = {}
        if self.real:
            item = dict(self.real[self.real.of_sample[number] if self.samples else number])
        if self.fake:
            other = self.fake[number]
            item = {"label": other["label"], **item, "fake": other["video"]}
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
    data = {"folder": clips.folder, "sha256": fingerprint(clips)}
    made_of = {"subject": subject.made_of, "data": data, "networks": networks.hashes, "seed": seed}
    _begin(output, {"protocol": asdict(protocol), **made_of})
    reals = [RealClips(clips, protocol, seed, repeat) for repeat in range(protocol.repeats)]
    drawn = protocol.real.rule in ("random", "windows")  # other clips in each repeat
    paired = [metric for metric in protocol.metrics if METRICS[metric].paired]
    needed = networks_of_real(protocol.metrics)
    of_reals = {name: network for name, network in networks.features.items() if name in needed}
    make = partial(features.collect, batch_size=batch_size, part=part)
    load = partial(_batches, num_workers=num_workers, device=device)

    def of_real(real: RealClips, batches: list[list[int]]) -> Iterator[features.Arrays]:
        with torch.inference_mode():
            for batch in load(_Batches(real, None, samples=False), batches):
                yield features.of_clips(batch["video"], of_reals, protocol.pixels)

    for repeat, real in enumerate(reals[: None if drawn else 1] if statistics is None and of_reals else ()):
        name = f"real-{repeat}"
        make(output / name, len(real), compute=partial(of_real, real), bar=bar(name))

    def of_fakes(
        task: str, repeat: int, real: RealClips, fake: RealClips | None, batches: list[list[int]]
    ) -> Iterator[features.Arrays]:
        both = _Batches(None if fake and not paired else real, fake)
        for numbers, batch in zip(batches, load(both, batches), strict=True):
            seeds = [generator_for(seed, repeat, number).initial_seed() for number in numbers]
            made = subject.samplers[task](batch, seeds)
            with torch.inference_mode():
                arrays = features.of_clips(made.video, networks.features, protocol.pixels)
                if paired:
                    arrays |= features.of_pairs(batch["video"], made.video, networks.lpips, paired)
            arrays["label"] = batch["label"].cpu()
            if made.tokens is not None and "codebook_usage" in protocol.metrics:
                arrays["tokens"] = made.tokens.flatten(1).int().cpu()
            if repeat == 0 and numbers[0] == 0:
                _show(output / "samples" / task, batch.get("video"), made.video)
            yield arrays

    counts = {}
    for task in subject.samplers:
        for repeat in range(protocol.repeats):
            real, name = reals[repeat], f"{task}-{repeat}"
            fake = RealClips(subject.clips, protocol, seed, repeat) if subject.clips else None
            if fake and paired and len(fake) != len(real):
                raise ValueError(
                    f"{paired[0]} needs pairs, and there are {len(real)} real clips and {len(fake)} others"
                )
            counts[task] = len(fake) if fake else len(real.of_sample)
            make(output / name, counts[task], compute=partial(of_fakes, task, repeat, real, fake), bar=bar(name))
    if part[1] > 1:
        return None
    results = _results(protocol, clips, subject, output, reals, counts, statistics, {**made_of}, notes, seed)
    results.save(output)
    return results


def _begin(output: Path, config: dict[str, Any]) -> None:
    """Write what the folder is of, or find the same."""
    config = json.loads(json.dumps(config))
    output.mkdir(parents=True, exist_ok=True)
    if (output / hub.CONFIG).exists():
        stored = hub.load_config(output)
        changed = [name for name in config if stored.get(name) != config[name]]
        if changed:
            raise ValueError(
                f"{output} holds another evaluation, with another {' and '.join(changed)}: choose another output"
            )
        return
    if any(output.iterdir()):
        raise ValueError(f"{output} holds something else: choose another output")
    with hub.written_whole(output / hub.CONFIG) as path:
        path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


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
    reals: list[RealClips],
    counts: dict[str, int],
    statistics: Path | None,
    made_of: dict[str, Any],
    notes: tuple[str, ...],
    seed: int,
) -> Results:
    real = [_real(output, repeat, clips, statistics, _about(protocol, made_of)) for repeat, clips in enumerate(reals)]
    scores: list[Score] = []
    per_class: dict[str, dict[str, dict[str, float]]] = {}
    for task, count in counts.items():
        fakes = [features.load(output / f"{task}-{repeat}", count) for repeat in range(protocol.repeats)]
        for metric in protocol.metrics:
            values = [
                score(metric, real[repeat], fake, subject.codebook_size, seed, protocol.unbiased)
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
    if len(counts) > 1:
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


def _about(protocol: Protocol, made_of: dict[str, Any]) -> dict[str, Any]:
    """All that features of the real clips depend on, but for the network."""
    rule = {name: asdict(protocol)[name] for name in ("real", "pixels", "num_samples", "repeats", "clip_shape")}
    about = {"clips": rule, "data": made_of["data"]["sha256"], "seed": made_of["seed"]}
    needed = networks_of_real(protocol.metrics)
    weights = {name: weights for name, weights in made_of["networks"].items() if name in needed}
    return json.loads(json.dumps({**about, "networks": weights}))


def _real(output: Path, repeat: int, clips: RealClips, statistics: Path | None, about: dict[str, Any]) -> Real:
    """Features and statistics of the real clips; or the statistics alone, of another evaluation."""
    name, networks = f"real-{repeat}", about.pop("networks")
    if statistics is None:
        folder = output / (name if (output / name).is_dir() else "real-0")  # where all repeats have the same clips
        arrays = features.load(folder, len(clips)) if folder.is_dir() else {}
        if clips.rule.as_used:
            arrays = {network: rows[clips.of_sample] for network, rows in arrays.items()}
        found = {network: FeatureStatistics.of(rows) for network, rows in arrays.items() if network in networks}
        for network, of_network in found.items():
            of_network.save(output / f"{name}.{network}.npz", {**about, "network": networks[network]})
        return Real(found, arrays)
    found = {}
    for network, weights in networks.items():
        path = statistics / f"{name}.{network}.npz"
        found[network], stored = FeatureStatistics.load(path)
        if changed := [field for field, value in {**about, "network": weights}.items() if stored.get(field) != value]:
            raise ValueError(f"{path} is of other real clips: another {' and '.join(changed)}")
    return Real(found, {})
