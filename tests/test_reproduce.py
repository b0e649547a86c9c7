import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from magvit import costs
from magvit.cli import main, parse_arguments
from magvit.cli.reproduce import Reproduce
from magvit.data.loader import TrainingClips
from magvit.evaluation.protocols import RealSet
from magvit.nn.attention import TransformerSize
from magvit.recipes import TOKENIZER_RECIPES, TRANSFORMER_RECIPES
from magvit.reproduce.cluster import write_scripts
from magvit.reproduce.costs import job_flops
from magvit.reproduce.outcome import Cell, Outcome, Verdict, gather, verdicts_of
from magvit.reproduce.paper import PAPER
from magvit.reproduce.plan import Job, cells, jobs_of
from magvit.reproduce.tables import TABLES, table_named
from magvit.reproduce.tiny import TINY
from magvit.reproduce.work import Laboratory, _share, do_all, do_side_by_side, of_real_clips
from magvit.training.config import TransformerRun
from magvit.training.run import Run

SMALL = TransformerSize(hidden_size=16, num_layers=1, num_heads=2, mlp_size=32, dropout=0.0)


def shortened(make):
    run = make()
    loop = replace(run.loop, num_steps=3, global_batch_size=2, checkpoint_every=1, sample_every=3, log_every=1)
    if isinstance(run, TransformerRun):
        return replace(run, loop=loop, size=SMALL)
    size = replace(run.tokenizer, base_channels=8, codebook_size=16, linear_path=False)
    return replace(run, loop=loop, quantizer_start=0, codebook_init="uniform", tokenizer=size)


SHORT = replace(
    TINY,
    models={name: partial(shortened, make) for name, make in TINY.models.items()},
    protocols={
        name: (replace(part, num_samples=4, metrics=("pushing_fd",), real=RealSet("center", count=4, split="")),)
        for name, (part,) in TINY.protocols.items()
    },
    token_epochs=1,
)
TABLE = table_named("table5").only(("latent masking", "COMMIT, all losses"))
TABLE = replace(
    TABLE,
    columns=TABLE.columns[:1],
    rows=tuple(replace(row, published=(1.0,), models=row.models[:1]) for row in TABLE.rows),
    claims=TABLE.claims[:1],
)


MADE = [(scale, table) for scale in (PAPER, TINY) for table in TABLES.values() if any(cells(table, scale))]


def test_the_papers_scale_makes_every_row_that_is_not_quoted():
    missing = {(scale.name, table.name) for scale in (PAPER, TINY) for table in TABLES.values()}
    missing -= {(scale.name, table.name) for scale, table in MADE}
    assert missing == {("tiny", "table3"), ("tiny", "table13")}
    for table in TABLES.values():
        made = {row.name for row, _, _ in cells(table, PAPER)}
        assert made == {row.name for row in table.rows if row.models != (None,)}, table.name


@pytest.mark.parametrize(("scale", "table"), MADE, ids=lambda value: value.name)
def test_every_job_comes_after_what_it_needs_and_is_there_once(scale, table):
    jobs = jobs_of(table, scale, seeds=2)
    done = set()
    for job in jobs:
        assert done >= set(job.needs)
        assert job.name not in done
        done.add(job.name)
    evaluations = [job for job in jobs if job.kind == "evaluate"]
    assert {job.seed for job in evaluations} == {0, 1}
    for job in jobs:
        if job.kind == "train":
            assert scale.run(job.model, job.seed, lambda model: model).loop.seed == job.seed


def test_tables_share_what_they_have_in_common():
    names = [{job.name for job in jobs_of(TABLES[name], TINY, seeds=1)} for name in ("table4", "table5", "table6")]
    assert "train/magvit-b-unc-bair/seed-0" in set.intersection(*names)


def test_ablations_at_the_papers_scale_differ_from_their_recipe_in_one_thing():
    recipe = TRANSFORMER_RECIPES["magvit-b-fp-bair"]()
    assert PAPER.models["magvit-b-fp-mask-bair"]() == replace(recipe, losses=("mask",))
    assert PAPER.models["magvit-b-fp-bair"]() == recipe
    started = TOKENIZER_RECIPES["3dvq-b-ucf101"]()
    assert PAPER.models["3dvq-b-average-ucf101"]() == replace(started, inflation="average")
    assert PAPER.needs("3dvq-b-scratch-ucf101") is None


class Killed(Exception):
    pass


def test_a_killed_table_goes_on_and_equals_an_unbroken_one(tmp_path, monkeypatch):
    torch.set_num_threads(1)
    monkeypatch.setattr(TrainingClips, "__len__", lambda clips: 8)  # in an epoch, whose tokens are stored
    jobs = jobs_of(TABLE, SHORT, seeds=1)
    assert [job.kind for job in jobs] == ["train", "tokens", "train", "evaluate", "train", "evaluate"]
    whole, broken = (Laboratory(SHORT, tmp_path / name, {}) for name in ("whole", "broken"))
    do_all(jobs, whole, lambda sentence: None)
    killed = []

    def save_and_die(self, done, model, save=Run.save):
        save(self, done, model)
        if done == 2 and self.output not in killed:
            killed.append(self.output)
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Run, "save", save_and_die)
        for _ in range(3):  # the tokenizer and both transformers
            with pytest.raises(Killed):
                do_all(jobs, broken, lambda sentence: None)
        do_all(jobs, broken, lambda sentence: None)
    assert len(killed) == 3
    outcomes = [gather(TABLE, SHORT, 1, laboratory.folder) for laboratory in (whole, broken)]
    assert outcomes[0] == outcomes[1]
    outcomes[0].save(tmp_path / "table")
    stored = json.loads((tmp_path / "table" / "results.json").read_text())
    assert [cell["row"] for cell in stored["cells"]] == ["latent masking", "COMMIT, all losses"]
    assert (tmp_path / "table" / "plot.png").stat().st_size > 1000
    said = []
    do_all(jobs, whole, said.append)
    assert not said
    other = replace(SHORT, models={**SHORT.models, "magvit-b-fp-bair": SHORT.models["magvit-b-fp-mask-bair"]})
    with pytest.raises(ValueError, match="holds another training, with another losses"):
        do_all(jobs, Laboratory(other, whole.folder, {}), said.append)
    shutil.rmtree(whole.folder)


def stand_in(folder, fails=""):
    """A command that does nothing but say that a job is done, after what it needs."""

    def command(job):
        lines = [f"import os, pathlib, sys; folder = pathlib.Path({str(folder)!r})"]
        lines += [f"assert (folder / {need!r} / 'results.json').exists()" for need in job.needs]
        lines += ["sys.exit(3)"] if job.name == fails else []
        lines += [f"(folder / {job.name!r}).mkdir(parents=True)", f"(folder / {job.name!r} / 'results.json').touch()"]
        lines += ["(folder / 'threads').write_text(os.environ['OMP_NUM_THREADS'])"]
        return [sys.executable, "-c", "\n".join(lines)]

    return command


def test_jobs_side_by_side_wait_for_what_they_need(tmp_path):
    first, second = Job("evaluate", "a", 0, "p"), Job("evaluate", "b", 0, "p")
    last = Job("evaluate", "c", 0, "p", needs=(first.name, second.name))
    laboratory, said = Laboratory(SHORT, tmp_path, {}), []
    do_side_by_side([first, second, last], laboratory, stand_in(tmp_path), 2, said.append)
    assert laboratory.is_done(last)
    assert len(said) == 3
    assert (tmp_path / "threads").read_text() == str(max(1, os.cpu_count() // 2))
    do_side_by_side([first, second, last], laboratory, stand_in(tmp_path), 2, said.append)
    assert len(said) == 3


def test_processes_share_out_the_gpus_that_this_one_sees(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [_share(slot, 2, 2)["CUDA_VISIBLE_DEVICES"] for slot in range(3)] == ["0,1", "2,3", "0,1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3,6,7")
    assert [_share(slot, 5, 1)["CUDA_VISIBLE_DEVICES"] for slot in range(5)] == ["2", "3", "6", "7", "2"]
    assert _share(0, 1, 8)["CUDA_VISIBLE_DEVICES"] == "2,3,6,7"


def test_trainings_alone_get_several_devices():
    command = Reproduce("table5", devices=4)._command
    assert command(Job("train", "magvit-b-fp-bair", 0))[-4:-2] == ["--devices", "4"]
    assert "--devices" not in command(Job("evaluate", "magvit-b-fp-bair", 0, "magvit-bair-debiased"))


def test_a_job_that_fails_ends_the_table_and_what_needs_it_is_not_begun(tmp_path):
    first = Job("evaluate", "a", 0, "p")
    last = Job("evaluate", "c", 0, "p", needs=(first.name,))
    laboratory = Laboratory(SHORT, tmp_path, {})
    with pytest.raises(OSError, match=r"evaluate/p/a/seed-0 was not finished \(exit code 3\)"):
        do_side_by_side([first, last], laboratory, stand_in(tmp_path, first.name), 2, lambda sentence: None)
    assert not laboratory.is_done(last)


def test_what_runs_beside_it_ends_with_the_table(tmp_path):
    """A kill of the process that waits reaches those that work, which would go on alone."""
    job, before = Job("evaluate", "a", 0, "p"), signal.getsignal(signal.SIGTERM)
    lines = ["import os, pathlib, time", f"pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid()))"]
    command = [sys.executable, "-c", "\n".join([*lines, "time.sleep(99)"])]

    def kill():
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=kill).start()
    with pytest.raises(OSError, match="stopped by SIGTERM: the same command goes on"):
        do_side_by_side([job], Laboratory(SHORT, tmp_path, {}), lambda job: command, 1, lambda sentence: None)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_training_that_is_told_to_stop_ends_the_table(tmp_path, monkeypatch):
    jobs = [Job("train", "magvit-b-fp-bair", 0), Job("evaluate", "magvit-b-fp-bair", 0, "p")]
    begun = []
    monkeypatch.setattr(Laboratory, "_train", lambda self, job: begun.append(job))  # and returns
    with pytest.raises(OSError, match=r"train/magvit-b-fp-bair/seed-0 was not finished: the same command goes on"):
        do_all(jobs, Laboratory(SHORT, tmp_path, {}), lambda sentence: None)
    assert begun == jobs[:1]


def test_a_claim_holds_where_its_interval_leaves_zero_out():
    def cell(row, *values):
        return Cell(row, "FP", "psnr", values, sum(values) / len(values), None, 1.0)

    better, worse = "COMMIT, all losses", "latent masking"
    for theirs, holds in (((1.0, 1.1, 0.9), "yes"), ((1.5, 3.0, 1.0), "unsure (yes)"), ((3.0, 3.1, 3.0), "no")):
        found = {(better, "FP"): cell(better, 2.0, 2.1, 2.0), (worse, "FP"): cell(worse, *theirs)}
        (verdict,) = verdicts_of(TABLE, found)
        assert (verdict.holds, len(verdict.differences)) == (holds, 3)
    found = {(better, "FP"): cell(better, 2.0), (worse, "FP"): cell(worse, 1.0)}
    assert [verdict.holds for verdict in verdicts_of(TABLE, found)] == ["yes, by one seed"]


def test_a_table_shows_ours_over_the_published_and_what_is_quoted():
    table = table_named("table6")
    made = tuple(
        Cell(row.name, column.name, "pushing_fd", (10.0, 12.0), 11.0, 12.7, row.published[1])
        for row, column, _ in cells(table, TINY)
    )
    verdict = Verdict("COMMIT over MaskGIT", (48, 74), (-1588.4, 0.6861), "unsure (no)")
    text = Outcome(table, "tiny", made, (verdict,)).markdown()
    assert "| MAGVIT, 3D-VQ | (76) | 11 ± 13 (48) |" in text
    assert "| COMMIT over MaskGIT | 48 against 74 | -1588, +0.686 | unsure (no) |" in text
    wide = replace(made[0], mean=957.4, interval=1131.7)
    assert "| 957.4 ± 1132 (" in Outcome(table, "tiny", (wide, *made[1:]), ()).markdown()
    assert "| MaskViT, quoted | (94) |  |" in text


def test_scripts_for_a_cluster_wait_for_what_they_need(tmp_path):
    jobs = jobs_of(table_named("table7").only(("3D-VQ-B, central",)), PAPER, seeds=1)
    submit = write_scripts(jobs, tmp_path, lambda job: ["magvit", "reproduce", "table7", "--only", job.name], 8)
    lines = submit.read_text().splitlines()[3:]
    assert [line.partition("=")[0] for line in lines] == [f"job{number}" for number in range(len(jobs))]
    assert "--dependency" not in lines[0]
    assert "--dependency=afterok:$job0 " in lines[1]
    first = (tmp_path / f"000-{jobs[0].name.replace('/', '-')}.sh").read_text()
    assert "#SBATCH --gpus-per-node=8" in first
    assert f"#SBATCH --chdir={Path.cwd()}" in first
    assert f"--only {jobs[0].name} --devices 8" in first


def test_the_command_of_a_job_is_one_that_can_be_run():
    asked = parse_arguments(["reproduce", "table5", "--seeds", "2", "--data", "bair", "some folder", "--i3d", "i3d.pt"])
    job = Job("train", "magvit-b-fp-bair", 1)
    python, *start, word, table = asked._command(job)[:5]
    assert subprocess.run([python, *start, "--version"], capture_output=True, check=True).stdout.startswith(b"magvit ")
    assert (word, table) == ("reproduce", "table5")
    assert parse_arguments(asked._command(job)[3:]) == replace(asked, only=job.name)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["table9"], "unknown table 'table9', expected one of table1"),
        (["table5", "--rows", "mine"], "table5 has no row 'mine', but latent masking, "),
        (["table5", "--seeds", "0"], "seeds is 0, expected at least 1"),
        (["table5", "--scale", "paper"], "the folder of bair is not given: add --data bair FOLDER"),
        (["table5", "--only", "train/x"], "table5 has no job 'train/x'"),
        (["table7", "--rows", "TATS"], "table7 has no row that can be made at the tiny scale"),
    ],
)
def test_wrong_requests_are_one_line(arguments, told, tmp_path, capsys):
    assert main(["reproduce", *arguments, "--output", str(tmp_path / "out")]) == 2
    captured = capsys.readouterr()
    assert told in captured.err
    assert captured.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_dry_run_lists_the_jobs_and_does_nothing(tmp_path, capsys):
    assert main(["reproduce", "table4", "--seeds", "1", "--dry-run", "--output", str(tmp_path / "out")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("train/magvit-l-mt-bair/seed-0" in line for line in lines)
    assert not (tmp_path / "out").exists()


def test_conditions_that_tasks_share_are_tokenized_once(tmp_path):
    """Eight tasks know eight conditions, and with classes no more; generation from nothing has none."""
    laboratory = Laboratory(TINY, tmp_path, {})
    run = laboratory.training(Job("train", "3dvq-b-bair", 0))
    clip = costs.forward(costs.encode(run.tokenizer, run.data.clip_shape))
    found = job_flops(Job("tokens", "3dvq-b-bair", 0), laboratory)
    assert found == 1024 * TINY.token_epochs * (1 + 8) * clip


def test_statistics_of_an_evaluation_that_is_not_done_are_not_taken(tmp_path):
    for name in "ab":
        folder = tmp_path / name / "seed-0"
        folder.mkdir(parents=True)
        (folder / "real-0.pushing.npz").touch()
    assert of_real_clips(tmp_path) is None
    (folder / "results.json").touch()
    assert of_real_clips(tmp_path) == folder


def test_names_of_jobs_tell_how_a_condition_enters():
    plain, masked = (Job("evaluate", "m", 0, "p", mask_mode=mode) for mode in ("trained", "latent_masking"))
    assert plain.name == "evaluate/p/m/seed-0"
    assert masked.name == "evaluate/p/m-latent_masking/seed-0"
