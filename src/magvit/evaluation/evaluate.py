"""An evaluation from beginning to end: real clips, samples, features, numbers.

The output folder holds

    config.json                      what it is of
    real-0/, frame_prediction-0/ ... features of repeat 0, see `magvit.evaluation.features`
    real-0.i3d.npz ...               statistics of the real clips, which other evaluations can take
    samples/                         pictures of the first samples
    results.json, results.md         the numbers
"""

import json
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import magvit
from magvit import locks, storage
from magvit.data.clip_set import ClipSet
from magvit.evaluation import features
from magvit.evaluation.columns import Arrays, Column, Samples
from magvit.evaluation.features import Work
from magvit.evaluation.metrics import Real, Setting, metrics_named
from magvit.evaluation.networks import Networks
from magvit.evaluation.protocols import Protocol
from magvit.evaluation.results import Results, Score
from magvit.evaluation.samples import Items, RealClips, check_pairs, fingerprint, loaded
from magvit.evaluation.scores import averages, joined, means_by_class, scores_of_task
from magvit.evaluation.subjects import Subject
from magvit.metrics.frechet import FeatureStatistics
from magvit.seeds import generator_for
from magvit.shapes import Video
from magvit.storage import CONFIG
from magvit.video import write_video
from magvit.video.contact_sheet import contact_sheet

SHOWN = 4  # samples of a task in its pictures
MODELS_OWN = ("clip_shape", "condition_frames")  # that earlier versions left open in what they wrote, as None


@dataclass(frozen=True)
class Evaluation:
    """What is evaluated, and how.

    Attributes:
        protocol: how.
        clips: the real ones, not yet drawn; of the shape and stride that the protocol says.
        subject: what is compared with them.
        networks: those of the protocol's metrics, or what loads them once all else is found right.
        seed: of the random real clips and of the samples.
        videos: numbers of the videos of `clips` to use; None for all.
        statistics: output folder of another evaluation, whose statistics of the same real clips are taken.
        notes: what keeps the numbers from being the protocol's.
    """

    protocol: Protocol
    clips: ClipSet
    subject: Subject
    networks: Networks | Callable[[], Networks]
    seed: int = 0
    videos: Sequence[int] | None = None
    statistics: Path | None = None
    notes: tuple[str, ...] = ()


def evaluate(evaluation: Evaluation, output: Path, work: Work) -> Results | None:
    """Compute what is missing in `output`, and from all of it the numbers; only features, for a part of several.

    Raises:
        ValueError: as `Begun`; or a clip cannot be used, or features are NaN.
        OSError: something cannot be read or written, or another process is at the same.
    """
    return evaluate_all(evaluation.protocol.name, [evaluation], output, work)


def evaluate_all(name: str, parts: Sequence[Evaluation], output: Path, work: Work) -> Results | None:
    """The same by a protocol in several parts, called `name`; all their tasks are in one table."""
    number, count = work.part
    with locks.locked(output, f"-{number}-of-{count}" if count > 1 else ""):
        begun = begin(name, parts, output)
        for part in begun:
            part.compute(work)
        if count > 1:
            return None
        results = [part.results() for part in begun]
        if begun[0].output == output:
            return results[0]
        whole = joined(name, results)
        whole.save(output)
        return whole


def begin(name: str, parts: Sequence[Evaluation], output: Path) -> "list[Begun]":
    """The evaluations of a protocol, checked: the only one in `output`, those of parts in folders below."""
    if [part.protocol.name for part in parts] == [name]:
        return [Begun(parts[0], output)]
    _take_folder(output, {"protocol": name, "parts": [part.protocol.name for part in parts]})
    return [Begun(part, output / part.protocol.name) for part in parts]


class Begun:
    """An evaluation, checked, with a folder of its own: `compute` fills that, in one process or several, `results`
    reads it.

    Args:
        evaluation: all that can be found wrong with it is found here, before any work.
        output: folder; one of the same evaluation is gone on with.

    Raises:
        ValueError: the folder holds another evaluation, there are too few clips, or a metric cannot be computed.
        OSError: something cannot be read or written.
    """

    def __init__(self, evaluation: Evaluation, output: Path):
        clips, subject, frames = evaluation.clips, evaluation.subject, evaluation.subject.condition_frames
        protocol = replace(evaluation.protocol, clip_shape=clips.clip_shape)  # what it left open is known now
        protocol = replace(protocol, condition_frames=frames or protocol.condition_frames)
        self.protocol, self.clips, self.subject, self.output = protocol, clips, subject, output
        self.seed, self.notes = evaluation.seed, evaluation.notes
        repeats, seed = range(protocol.repeats), evaluation.seed
        self.reals = [RealClips(clips, protocol, seed, repeat, evaluation.videos) for repeat in repeats]
        self.fakes = [RealClips(subject.clips, protocol, seed, repeat) for repeat in repeats] if subject.clips else None
        self.setting = Setting(
            protocol,
            clips.clip_shape,
            clips.classes,
            samples=protocol.num_samples or len(self.fakes[0] if self.fakes else self.reals[0].of_sample),
            reals=len(self.reals[0]),
            codebook_size=subject.codebook_size,
            seed=seed,
            only_statistics=evaluation.statistics is not None,
        )
        self.metrics = metrics_named(protocol.metrics)
        for metric in self.metrics:
            metric.check(self.setting)
        self.paired = next((metric.name for metric in self.metrics if metric.column.paired), "")  # one of them
        self.columns = {metric.column.name: metric.column for metric in self.metrics}
        self.real_columns = {metric.column.name: metric.column for metric in self.metrics if metric.takes_real}
        if self.fakes:
            self.notes += check_pairs(protocol, self.reals, self.fakes, self.setting.samples, self.paired)
        networks = evaluation.networks
        self.networks = networks if isinstance(networks, Networks) else networks()
        data = {"folder": clips.folder, "sha256": fingerprint(clips, evaluation.videos)}
        self.made_of: dict[str, Any] = {
            "subject": subject.made_of,
            "data": data,
            "networks": self.networks.hashes,
            "seed": seed,
        }
        given = evaluation.statistics
        self.given = [self._given(given, repeat) for repeat in repeats] if given else None
        _take_folder(output, {"protocol": asdict(protocol), **_without_names(self.made_of)})

    def compute(self, work: Work) -> None:
        """What is missing of the columns, or of a part of them."""
        drawn = self.protocol.real.rule in ("random", "windows")  # other clips in each repeat
        for repeat, real in enumerate(self.reals if drawn else self.reals[:1]):
            if self.real_columns and not self.given:
                of_real = partial(self._of_real, real, work)
                features.collect(self.output / f"real-{repeat}", len(real), of_real, work)
        for task in self.subject.samplers:
            for repeat in range(self.protocol.repeats):
                of_samples = partial(self._of_samples, task, repeat, work)
                features.collect(self.output / f"{task}-{repeat}", self.setting.samples, of_samples, work)

    def _of_real(self, real: RealClips, work: Work, batches: list[list[int]]) -> Iterator[Arrays]:
        for batch in loaded(real, batches, work):
            yield self._computed(self.real_columns, Samples(batch["video"], self.protocol.pixels))

    def _of_samples(self, task: str, repeat: int, work: Work, batches: list[list[int]]) -> Iterator[Arrays]:
        fake, classes = self.fakes[repeat] if self.fakes else None, self.clips.classes
        real = None if fake and not self.paired else self.reals[repeat]
        items = Items(real, fake, classes, videos=bool(self.paired) or task not in self.subject.blind)
        for numbers, batch in zip(batches, loaded(items, batches, work), strict=True):
            seeds = [generator_for(self.seed, repeat, number).initial_seed() for number in numbers]
            made = self.subject.samplers[task](batch, seeds)
            names = [classes[label] if label >= 0 else "" for label in batch["label"].tolist()]
            samples = Samples(made.video, self.protocol.pixels, batch.get("video"), made.tokens, names)
            arrays = self._computed(self.columns, samples)
            if repeat == 0 and numbers[0] == 0:
                shown = [real[real.of_sample[number]]["video"] for number in numbers[:SHOWN]] if real else None
                _show(self.output / "samples" / task, shown, made.video)
            yield {**arrays, "label": batch["label"].cpu()}

    def _computed(self, columns: dict[str, Column], samples: Samples) -> Arrays:
        arrays: Arrays = {}
        with torch.inference_mode():
            for name, column in columns.items():
                network = self.networks.modules[column.network.name] if column.network else None
                values = column.compute(samples, network)
                arrays[name] = (values.float() if values.is_floating_point() else values).cpu()
        return arrays

    def results(self) -> Results:
        """The numbers, which are written too, and the statistics of the real clips for other evaluations."""
        protocol, tasks = self.protocol, list(self.subject.samplers)
        reals = self.given or [self._real(repeat, real) for repeat, real in enumerate(self.reals)]
        reconstructed = protocol.subject == "reconstruction"
        metrics = {
            (metric.reconstruction_name if reconstructed else "") or metric.name: metric for metric in self.metrics
        }
        kept = [*self.columns, "label"]
        scores: list[Score] = []
        per_class: dict[str, dict[str, dict[str, float]]] = {}
        for task in tasks:
            folders = [self.output / f"{task}-{repeat}" for repeat in range(protocol.repeats)]
            fakes = [features.load(folder, self.setting.samples, kept) for folder in folders]
            scores += scores_of_task(task, metrics, reals, fakes, self.setting)
            if means := means_by_class(metrics, fakes[0], self.clips.classes):
                per_class[task] = means
        if len(tasks) > 1:
            scores += averages(scores)
        versions = {"magvit": magvit.__version__, "torch": torch.__version__, "python": platform.python_version()}
        inexact = (f"Not exactly the published protocol: {protocol.not_exact}",) if protocol.not_exact else ()
        notes = (*self.notes, *inexact)
        results = Results(asdict(protocol), self.made_of, versions, tuple(scores), per_class, notes)
        results.save(self.output)
        return results

    def _real(self, repeat: int, clips: RealClips) -> dict[str, Real]:
        """By column features and statistics of the real clips of a repeat; the statistics are kept for others."""
        name = f"real-{repeat}"
        folder = self.output / (name if (self.output / name).is_dir() else "real-0")  # all repeats may have the same
        rows = features.load(folder, len(clips), self.real_columns) if self.real_columns else {}
        used = clips.of_sample if clips.rule.as_used else slice(None)
        reals = {column: Real(FeatureStatistics.of(array[used]), array) for column, array in rows.items()}
        for column, real in reals.items():
            real.statistics.save(self.output / f"{name}.{column}.npz", self._about(column))
        return reals

    def _given(self, evaluation: Path, repeat: int) -> dict[str, Real]:
        """The statistics of another evaluation."""
        reals = {}
        for column in self.real_columns:
            path = evaluation / f"real-{repeat}.{column}.npz"
            statistics, stored = FeatureStatistics.load(path)
            if changed := _changed(stored, self._about(column)):
                raise ValueError(f"{path} is of other real clips: another {changed}")
            reals[column] = Real(statistics)
        return reals

    def _about(self, column: str) -> dict[str, Any]:
        """All that a column of the real clips depends on, as JSON has it."""
        protocol, network = asdict(self.protocol), self.columns[column].network
        about: dict[str, Any] = {
            "clips": {name: protocol[name] for name in ("real", "pixels", "num_samples", "repeats", "clip_shape")},
            "data": self.made_of["data"]["sha256"],
            "seed": self.seed,
            "network": self.networks.hashes[network.name] if network else None,
        }
        return json.loads(json.dumps(about))


def _take_folder(output: Path, config: dict[str, Any]) -> None:
    """Write what the folder is of, or find the same; a folder without any features yet may become another's."""
    config = json.loads(json.dumps(config))
    output.mkdir(parents=True, exist_ok=True)
    storage.check_kind(output, "evaluation")
    names = {path.name: path for path in output.iterdir() if not path.name.startswith(locks.LOCK)}
    others = [path for name, path in names.items() if not name.endswith(CONFIG)]  # half-written ones end so too
    begun = storage.kind_of(output) == "evaluation"
    if not others or (begun and all(map(Path.is_dir, others)) and not any(output.rglob("*.safetensors"))):
        storage.save_config(output, "evaluation", config)  # another part may be at the same, and writes the same
    if not (output / CONFIG).exists():
        raise ValueError(f"{output} holds something else: choose another output")
    if changed := _changed(storage.load_config(output), config):
        raise ValueError(f"{output} holds another evaluation, with another {changed}: choose another output")


def _changed(stored: dict[str, Any], wanted: dict[str, Any]) -> str:
    """What is wanted and was stored otherwise, by name, or ""."""
    changed = []
    for name, value in wanted.items():
        before = stored.get(name)
        if isinstance(before, dict) and isinstance(value, dict):
            before = before | {own: value[own] for own in MODELS_OWN if own in value and before.get(own, "") is None}
        if before != value:
            changed.append(name)
    return " and ".join(changed)


def _without_names(made_of: dict[str, Any]) -> dict[str, Any]:
    """The same without names and folders: what has moved is still the same."""
    return {
        part: {name: value for name, value in values.items() if name not in ("name", "folder")}
        if isinstance(values, dict)
        else values
        for part, values in made_of.items()
    }


def _show(place: Path, real: Sequence[Tensor] | None, fake: Video) -> None:
    """The first samples, beside their real clips: a picture and a video of each."""
    rows = []
    for number, sample in enumerate(fake[:SHOWN].float().cpu()):
        if real is not None:
            rows.append((f"real {number}", real[number]))
        rows.append((f"sample {number}", sample))
        write_video(place / f"{number}.mp4", sample)
    with storage.written_whole(place.parent / f"{place.name}.png") as path:
        contact_sheet(rows).save(path)
