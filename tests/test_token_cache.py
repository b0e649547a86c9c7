"""The token cache: what is stored is what the tokenizer gives, and training from it is training without it."""

import itertools
import json
import os
import pickle
import re
import shutil
import sys
from collections import namedtuple
from dataclasses import asdict, fields, replace
from functools import partial

import pytest
import torch

from magvit import MagvitPipeline, storage
from magvit.cli import main
from magvit.cli.tokenize import DATA, Tokenize
from magvit.data.loader import DataConfig, TrainingClips, make_loader
from magvit.data.token_cache import TokenCache, TokenCacheConfig
from magvit.locks import locked
from magvit.recipes import TRANSFORMER_RECIPES
from magvit.synthetic import MovingShapes
from magvit.tasks import TASKS, get_task
from magvit.tokenizer import VideoTokenizer
from magvit.training import cache_tokens as writing
from magvit.training import train_transformer as training
from magvit.training.cache_tokens import (
    NOT_OF_THE_TOKENS,
    cache_tokens,
    check_cache,
    condition_names,
    fingerprint,
    look_up,
    stored_as,
)
from magvit.training.engine import Machine
from magvit.training.objectives import tokenize
from magvit.video import write_video
from tiny_runs import TOKENIZER, metrics, save_tokenizer, transformer_run

CLIP_SHAPE, GRID, CLIPS, EPOCHS = (4, 16, 16), (2, 4, 4), 6, 3
SHARDS = [f"tokens_0000{i}.safetensors" for i in range(5)]
CONDITIONS = tuple(name for name, task in TASKS.items() if task.needs_video and name != "class_frame_prediction")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return save_tokenizer(tmp_path_factory.mktemp("tokenizer") / "model")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Six videos in two classes, larger than the clips in space and time."""
    root = tmp_path_factory.mktemp("clips")
    shapes = MovingShapes((9, 20, 24), seed=1)
    for index in range(CLIPS):
        write_video(root / "ab"[index % 2] / f"{index}.mp4", shapes[index]["video"])
    return root


@pytest.fixture(scope="module")
def run(tokenizer, folder):
    return transformer_run(tokenizer, data=DataConfig(CLIP_SHAPE, str(folder)), tasks=tuple(TASKS))


def write(run, output, **options):
    """Three epochs of six clips in files of four draws, the last one of two."""
    options = {"epochs": EPOCHS, "batch_size": 3, "entries_per_shard": 4, "progress": False} | options
    return cache_tokens(run, output, **options)


@pytest.fixture(scope="module")
def stored(tmp_path_factory, run):
    return write(run, tmp_path_factory.mktemp("cache") / "tokens")


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# --- what is stored


def test_entries_are_the_tokens_of_the_draws(run, stored):
    cache, clips = TokenCache(stored), TrainingClips(run.data, 0)
    encode = MagvitPipeline.from_pretrained(run.tokenizer).tokenizer.encode
    assert cache.config.conditions == CONDITIONS
    assert (len(cache), cache.classes) == (CLIPS, ("a", "b"))
    seen = set()
    for epoch, index in itertools.product(range(EPOCHS), range(CLIPS)):
        entry, clip = cache[epoch, index], clips[epoch, index]
        video = clip["video"][None]
        shown = [get_task(name).condition(video, GRID, 1) for name in CONDITIONS]
        given = [encode(condition.cond_video).where(condition.cond_token_mask, -1) for condition in shown]
        assert torch.equal(entry["tokens"], encode(video)[0])
        assert torch.equal(entry["cond_tokens"], torch.cat(given))
        assert (entry["label"], entry["index"]) == (clip["label"], clip["index"])
        seen.add(tuple(entry["tokens"].flatten().tolist()))
    assert len(seen) == CLIPS * EPOCHS  # every epoch has windows and crops of its own


def test_epochs_beyond_the_last_begin_again(stored):
    cache = TokenCache(stored)
    for epoch in range(EPOCHS):
        again = cache[2 * EPOCHS + epoch, 5]
        assert all(torch.equal(again[name], cache[epoch, 5][name]) for name in ("tokens", "cond_tokens"))
    with pytest.raises(IndexError, match="index 6 is not among the 6 clips"):
        cache[0, CLIPS]


def test_conditions_that_are_the_same_are_stored_once():
    video = torch.rand(1, 3, *CLIP_SHAPE, generator=torch.Generator().manual_seed(0))
    by_name = {name: TASKS[name].condition(video, GRID, 1).cond_video for name in TASKS}
    for name in TASKS:
        stored_under = condition_names([name])
        assert len(stored_under) == TASKS[name].needs_video
        assert all(torch.equal(by_name[name], by_name[other]) for other in stored_under)
    names = condition_names(TASKS)
    assert names == CONDITIONS
    assert not any(torch.equal(by_name[a], by_name[b]) for a, b in itertools.combinations(names, 2))
    assert condition_names(["CG", "CFP", "OPC", "FP"]) == ("frame_prediction", "outpainting_central")


def test_a_cache_without_conditions(run, tmp_path):
    run = replace(run, tasks=("class_generation",))
    cache = TokenCache(write(run, tmp_path, epochs=1))
    assert cache[0, 3]["cond_tokens"].shape == (0, *GRID)
    batch = next(iter(make_loader(cache, 2, seed=0)))
    tokenized = look_up(batch, (), [TASKS["class_generation"]] * 2)
    assert torch.equal(tokenized.tokens, batch["tokens"])
    assert not tokenized.cond_tokens.any()


def test_large_codebooks_are_stored_in_wider_numbers():
    for codebook_size in (2**15, 2**15 + 1):
        tokenizer = VideoTokenizer(replace(TOKENIZER, codebook_size=codebook_size))
        assert torch.iinfo(stored_as(tokenizer)).max >= codebook_size - 1


def test_tokens_looked_up_are_those_of_the_tokenizer(run, stored):
    """For every task, in one batch: tokens, condition tokens (0 where nothing is shown) and where they are given."""
    cache, tasks = TokenCache(stored), list(TASKS.values())
    keys = [divmod(entry, CLIPS) for entry in range(len(tasks))]
    batch = torch.utils.data.default_collate([cache[key] for key in keys])
    video = torch.stack([TrainingClips(run.data, 0)[key]["video"] for key in keys])
    expected = tokenize(MagvitPipeline.from_pretrained(run.tokenizer).tokenizer, video, tasks, 1)
    expected = expected._replace(cond_tokens=expected.cond_tokens * expected.cond_token_mask)  # no others are used
    for found, wanted in zip(look_up(batch, cache.config.conditions, tasks), expected, strict=True):
        assert found.dtype == wanted.dtype
        assert torch.equal(found, wanted)


# --- reading


def test_copies_carry_no_tokens(stored):
    cache = TokenCache(stored)
    entry = cache[0, 0]
    copied = pickle.dumps(cache)
    assert len(copied) < 2000
    assert torch.equal(pickle.loads(copied)[0, 0]["tokens"], entry["tokens"])


def test_workers_change_nothing(stored):
    cache = TokenCache(stored)
    cache[0, 0]  # a file is open when the workers start
    first, second = (
        list(itertools.islice(make_loader(cache, 4, seed=3, num_workers=num_workers), 5)) for num_workers in (0, 2)
    )
    for a, b in zip(first, second, strict=True):
        assert all(torch.equal(a[name], b[name]) for name in ("tokens", "cond_tokens", "label", "index"))


def test_what_is_no_cache_is_refused(tokenizer, stored, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere is not a token cache: it has no config"):
        TokenCache(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"model is a model, expected a token cache"):
        TokenCache(tokenizer)
    config = json.loads((stored / "config.json").read_text())
    for change, said in (({"format": 1}, "format is 1, expected"), ({"epochs": 0}, "epochs is 0, expected at least 1")):
        (tmp_path / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(ValueError, match=said):
            TokenCache(tmp_path)


# --- training


def train(run, output):
    training.train_transformer(run, output, machine=Machine("cpu"), progress=False)
    return metrics(output)


@pytest.mark.parametrize("mask_mode", ["commit", "prefix"])
def test_training_from_the_cache_is_training_online(run, stored, tmp_path, mask_mode, monkeypatch):
    """Bit for bit, over all tasks and beyond the first epoch; neither the clips nor the tokenizer are needed for it."""
    run = replace(run, mask_mode=mask_mode)
    online = train(run, tmp_path / "online")
    monkeypatch.setattr(training, "tokenize", None)
    elsewhere = replace(run, data=replace(run.data, folder=None), token_cache=str(stored))
    assert train(elsewhere, tmp_path / "cached") == online
    assert len(online) == 4
    weights = [(tmp_path / name / "model/transformer.safetensors").read_bytes() for name in ("online", "cached")]
    assert weights[0] == weights[1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda run: replace(run, loop=replace(run.loop, seed=1)), "made with seed 0, not 1"),
        (lambda run: replace(run, condition_frames=2, tasks=("FP",)), "made with condition_frames 1, not 2"),
        (lambda run: replace(run, data=replace(run.data, stride=2)), "made with data.stride 1, not 2"),
        (lambda run: replace(run, data=replace(run.data, clip_shape=(4, 8, 8))), r"clip_shape \[4, 16, 16\], not \["),
        (lambda run: replace(run, data=replace(run.data, synthetic_share=0.5)), "synthetic_share 0.0, not 0.5"),
    ],
)
def test_a_cache_of_something_else_is_refused(run, stored, tmp_path, change, said):
    other = replace(change(run), token_cache=str(stored))
    with pytest.raises(ValueError, match=f"{stored.name} does not fit this run: it was .*{said}"):
        train(other, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    before = contents(stored)
    with pytest.raises(ValueError, match=f"holds another token cache, .*{said}.*: choose another output"):
        write(other, stored)
    assert contents(stored) == before


def test_a_cache_that_does_not_know_a_newer_setting_is_of_its_default(run, stored):
    """Past bug in waiting: a new field of the data made all older caches useless."""
    config = TokenCacheConfig.load(stored)
    older = {name: value for name, value in config.made_of.items() if name != "data.resize"}
    assert older != config.made_of
    tokenizer = VideoTokenizer.from_pretrained(run.tokenizer)
    check_cache(stored, replace(config, made_of=older), run, tokenizer)
    other = replace(run, data=replace(run.data, resize="tf_bilinear"))
    with pytest.raises(ValueError, match=r"data\.resize"):
        check_cache(stored, replace(config, made_of=older), other, tokenizer)


@pytest.mark.parametrize(("made_in", "wanted", "fits"), [("bfloat16", "float32", False), ("float32", "bfloat16", True)])
def test_a_cache_says_its_precision_and_is_no_coarser_than_the_run(run, stored, made_in, wanted, fits):
    """bfloat16 gives other tokens: a run in float32 does not take them unawares."""
    assert TokenCacheConfig.load(stored).made_of["precision"] == run.tokenizes_in
    config = TokenCacheConfig.load(stored)
    config = replace(config, made_of={**config.made_of, "precision": made_in})
    wants = replace(run, tokenizer_precision=wanted, loop=replace(run.loop, precision="bfloat16"))
    tokenizer = VideoTokenizer.from_pretrained(run.tokenizer)
    if fits:
        check_cache(stored, config, wants, tokenizer)
    else:
        with pytest.raises(ValueError, match="its tokens are of bfloat16, not of float32"):
            check_cache(stored, config, wants, tokenizer)


def test_a_cache_of_other_videos_tokens_or_tasks_is_refused(run, folder, stored, tmp_path):
    config, tokenizer = TokenCache(stored).config, MagvitPipeline.from_pretrained(run.tokenizer).tokenizer
    moved = shutil.copytree(folder, tmp_path / "moved")
    run = replace(run, data=replace(run.data, folder=str(moved), cache=True, fps=3.0))
    check_cache(stored, config, run, tokenizer)
    (moved / "a" / "0.mp4").rename(moved / "a" / "9.mp4")
    with pytest.raises(ValueError, match="does not fit this run: it was made of other videos"):
        check_cache(stored, config, run, tokenizer)
    run = replace(run, data=replace(run.data, folder=None))
    tokenizer.quantizer.codebook.data[3] += 1
    with pytest.raises(ValueError, match="does not fit this run: it was made with another tokenizer"):
        check_cache(stored, config, run, tokenizer)


def test_a_cache_with_other_labels_is_refused(run, folder, tmp_path):
    """Past bug: work that went on after a list had changed mixed two numberings of classes."""
    listed = folder / "list.csv"
    run = replace(run, data=replace(run.data, folder=str(listed)), tasks=("class_generation",))

    def label(*names):
        listed.write_text("path,label\n" + "".join(f"a/{2 * i}.mp4,{name}\n" for i, name in enumerate(names)))

    label("b", "c", "b")
    stored = write(run, tmp_path / "tokens", epochs=1)
    config, tokenizer = TokenCacheConfig.load(stored), VideoTokenizer.from_pretrained(run.tokenizer)
    older = replace(config, made_of={name: value for name, value in config.made_of.items() if name != "labels"})
    check_cache(stored, config, run, tokenizer)
    for names in (("a", "c", "b"), ("b", "c", "c"), ("b", "d", "b")):
        label(*names)
        with pytest.raises(ValueError, match="made with other classes, or other labels of the videos"):
            write(run, stored, epochs=1)
        with pytest.raises(ValueError, match="made with other classes, or other labels of the videos"):
            check_cache(stored, config, run, tokenizer)
        check_cache(stored, older, run, tokenizer)


def test_a_cache_without_a_tasks_condition_is_refused(run, tmp_path):
    few = TokenCache(write(replace(run, tasks=("OPC", "CG")), tmp_path, epochs=1))
    tokenizer = MagvitPipeline.from_pretrained(run.tokenizer).tokenizer
    check_cache(tmp_path, few.config, replace(run, tasks=("UG", "OPC", "CG")), tokenizer)
    missing = "frame_prediction, outpainting_dynamic: it has outpainting_central"
    with pytest.raises(ValueError, match=f"lacks the condition of {missing}"):
        check_cache(tmp_path, few.config, replace(run, tasks=("CFP", "OPC", "CG", "OPD")), tokenizer)


def test_the_fingerprint_is_of_what_tokens_depend_on(tokenizer):
    model = MagvitPipeline.from_pretrained(tokenizer).tokenizer
    original = fingerprint(model)
    next(model.decoder.parameters()).data += 1
    assert fingerprint(model) == original
    parameter = next(model.encoder.parameters())
    parameter.data += 1
    assert fingerprint(model) != original
    parameter.data -= 1
    model.config = replace(model.config, normalize_latents=True)
    assert fingerprint(model) != original


# --- writing


def test_interrupted_work_goes_on_where_it_stopped(run, stored, tmp_path, monkeypatch):
    save, saved = storage.save_file, []

    def fail_at_the_third(arrays, path, metadata):
        if len(saved) == 2:
            path.write_bytes(b"half")
            raise KeyboardInterrupt
        saved.append(path)
        save(arrays, path, metadata)

    monkeypatch.setattr(storage, "save_file", fail_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        write(run, tmp_path)
    monkeypatch.undo()
    assert sorted(contents(tmp_path)) == ["config.json", *SHARDS[:2]]
    with pytest.raises(ValueError, match=r"not complete: 3 of its 5 files are missing .* is tokens_00002\."):
        TokenCache(tmp_path)

    times = [(tmp_path / name).stat().st_mtime_ns for name in SHARDS[:2]]
    left = tmp_path / ".1.tokens_00003.safetensors"
    left.write_bytes(b"left by a process that was killed")
    os.utime(left, (0, 0))
    write(run, tmp_path, batch_size=4, entries_per_shard=1024)
    assert [(tmp_path / name).stat().st_mtime_ns for name in SHARDS[:2]] == times
    assert contents(tmp_path) == contents(stored)


@pytest.mark.parametrize("damage", [lambda raw: raw[:-10], lambda raw: b"", lambda raw: raw[:4] + b"\xff" * 8])
def test_a_torn_file_is_found_and_written_again(run, stored, tmp_path, damage):
    shutil.copytree(stored, tmp_path, dirs_exist_ok=True)
    torn = tmp_path / SHARDS[1]
    torn.write_bytes(damage(torn.read_bytes()))
    with pytest.raises(ValueError, match="1 of its 5 files are missing or damaged, the first is tokens_00001"):
        TokenCache(tmp_path)
    write(run, tmp_path)
    assert contents(tmp_path) == contents(stored)


@pytest.mark.parametrize("damaged", [SHARDS[1], "config.json"])
def test_a_cache_that_is_not_whole_is_the_doctors_to_tell(stored, tmp_path, capsys, damaged):
    """Past bug: it was refused, as if there were nothing to look at."""
    shutil.copytree(stored, tmp_path, dirs_exist_ok=True)
    (tmp_path / damaged).write_bytes(b"{")
    assert main(["doctor", str(tmp_path)]) == 1
    told = capsys.readouterr()
    assert not told.err
    assert re.fullmatch(rf"error    tokens .*{damaged[:12]}.*\n", told.out)
    with locked(tmp_path, "-1-of-2"):
        assert main(["doctor", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("warning  tokens               a process is writing there now: ")


def test_more_epochs_can_be_added(run, stored, tmp_path):
    write(run, tmp_path, epochs=1)
    assert len(contents(tmp_path)) == 3
    write(run, tmp_path)
    assert contents(tmp_path) == contents(stored)
    write(run, tmp_path, epochs=1)  # there already
    assert contents(tmp_path) == contents(stored)


def test_workers_write_the_same(run, stored, tmp_path):
    write(replace(run, loop=replace(run.loop, num_workers=2)), tmp_path)
    assert contents(tmp_path) == contents(stored)


def test_parts_write_what_one_process_writes(run, stored, tmp_path):
    for number in (1, 0):
        write(run, tmp_path, part=(number, 2))
    assert contents(tmp_path) == contents(stored)


def test_too_little_space_is_seen_before_the_work(run, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: namedtuple("Usage", "free")(1000))
    with pytest.raises(OSError, match="MiB free, the tokens need"):
        write(run, tmp_path)
    assert sorted(contents(tmp_path)) == ["config.json"]


# --- the command


def test_tokenize_for_a_recipe_is_what_the_recipe_trains_on(tmp_path):
    recipe = TRANSFORMER_RECIPES["magvit-tiny"]()
    run = Tokenize(tmp_path, "magvit-tiny", tokenizer="model", data=tmp_path).of_training()
    assert asdict(run) == asdict(
        replace(recipe, data=recipe.data.from_folder(tmp_path), tokenizer="model", task_weights=())
    )
    given = {"stride": 3, "short_side": 40, "synthetic_share": 0.0, "clip_shape": (8, 16, 16)}
    given |= {"flip": False, "labels": False}
    other = {"tasks": ("FP",), "condition_frames": 5}
    loop = {"seed": 4, "num_workers": 2}
    run = Tokenize(tmp_path, "magvit-tiny", **given, **other, **loop, precision="float32").of_training()
    changes = {"data": replace(recipe.data, **given), "loop": replace(recipe.loop, **loop), **other}
    changes["tokenizer_precision"] = "float32"
    assert asdict(run) == asdict(replace(recipe, task_weights=(), **changes))


def test_tokenize_has_all_options_that_change_the_clips():
    """A run that changes another field could have no cache."""
    assert {field.name for field in fields(DataConfig)} == {*DATA, *NOT_OF_THE_TOKENS}


def test_tokenize_and_train_by_command(tokenizer, folder, tmp_path, capsys):
    output, common = tmp_path / "tokens", ["--data", str(folder), "--tokenizer", tokenizer]
    assert main(["tokenize", *common, "--output", str(output), "--epochs", "2", "--precision", "float32"]) == 0
    assert capsys.readouterr().out == f"wrote {output}\n"
    cache = TokenCache(output)
    assert cache.config.conditions == CONDITIONS
    assert (cache.config.epochs, cache[1, 2]["tokens"].shape) == (2, GRID)

    debug = [*common, "--seed", "0", "--data.clip-shape", "4", "16", "16", "--device", "cpu"]
    train = ["train", "transformer", "debug", *debug, "--token-cache", str(output), "--output", str(tmp_path / "run")]
    short = ["--loop.num-steps", "1", "--loop.global-batch-size", "4"]
    assert main([*train, *short, "--data.stride", "2"]) == 2
    said = capsys.readouterr().err
    assert said == f"magvit: the token cache {output} does not fit this run: it was made with data.stride 1, not 2\n"
    assert main([*train, *short]) == 0
    assert (tmp_path / "run" / "model" / "transformer.safetensors").is_file()


def test_several_processes_take_parts(tokenizer, folder, tmp_path, monkeypatch, capsys):
    parts = []

    def spawn(function, arguments, count):
        for number in range(count):
            function(number, *arguments)
            parts.append(sorted(path.name for path in (tmp_path / "shared").glob("tokens_*")))

    monkeypatch.setattr(sys.modules["torch.multiprocessing.spawn"], "spawn", spawn)
    monkeypatch.setattr("torch.set_num_threads", lambda threads: None)
    for name in ("begin_tokens", "cache_tokens"):
        monkeypatch.setattr(writing, name, partial(getattr(writing, name), entries_per_shard=4))
    common = ["tokenize", "--data", str(folder), "--tokenizer", tokenizer, "--tasks", "CG"]  # six clips
    assert main([*common, "--output", str(tmp_path / "whole")]) == 0
    assert main([*common, "--output", str(tmp_path / "shared"), "--devices", "2"]) == 0
    assert parts == [["tokens_00000.safetensors"], ["tokens_00000.safetensors", "tokens_00001.safetensors"]]
    assert contents(tmp_path / "shared") == contents(tmp_path / "whole")
    capsys.readouterr()
    for number, said in ((1, "wrote part 1 of 3 of"), (2, "wrote nothing: part 2 of 3 of")):
        assert main([*common, "--output", str(tmp_path / "parts"), "--part", str(number), "3"]) == 0
        assert capsys.readouterr().out.startswith(f"{said} {tmp_path / 'parts'}")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ucf-102"], "unknown transformer recipe 'ucf-102', expected one of debug, "),
        (["--tokenizer", "nowhere"], 'no model "nowhere"'),
        ([], "no data: give a folder of clips (--data PATH)"),
        (["--data", "nowhere"], "nowhere does not exist"),
        (["--tasks", "FPP", "--synthetic-share", "1"], "unknown task 'FPP'"),
        (["--epochs", "0"], "epochs is 0, expected at least 1"),
        (["--batch-size", "0"], "batch_size is 0, expected at least 1"),
        (["--condition-frames", "16", "--synthetic-share", "1"], "frame prediction from 16 frames of a clip of 16"),
        (["--clip-shape", "3", "32", "32", "--synthetic-share", "1"], "does not divide by the tokenizer's strides"),
        (["--device", "warp", "--synthetic-share", "1"], "device 'warp' cannot be used here"),
        (["--part", "2", "2"], "part is 2 of 2, expected 0 to N - 1 of N"),
        (["--devices", "0"], "devices is 0, expected at least 1"),
        (["--devices", "2", "--part", "0", "2"], "devices is 2: give it without a part"),
        (["--devices", "2", "--data", "nowhere"], "nowhere does not exist"),
    ],
)
def test_wrong_input_is_one_line_and_nothing_is_written(arguments, said, tmp_path, capsys):
    assert main(["tokenize", *arguments, "--output", str(tmp_path / "new" / "tokens")]) == 2
    shown = capsys.readouterr()
    assert shown.err.count("\n") == 1
    assert said in shown.err
    assert not any(tmp_path.iterdir())


def test_the_config_says_what_is_in_the_folder(stored, run):
    config = TokenCacheConfig.load(stored)
    assert (config.num_shards, list(config.entries(4))) == (5, [16, 17])
    assert config.made_of.keys() >= {"tokenizer", "videos", "seed", "condition_frames", "precision", "data.stride"}
    assert "data.folder" not in config.made_of
    assert sorted(contents(stored)) == ["config.json", *SHARDS]


def test_a_flipped_bit_is_noticed_when_it_is_drawn(stored, tmp_path):
    shutil.copytree(stored, tmp_path, dirs_exist_ok=True)
    damaged = tmp_path / SHARDS[1]
    raw = bytearray(damaged.read_bytes())
    raw[-3] ^= 4
    damaged.write_bytes(raw)
    cache = TokenCache(tmp_path)
    draws = [(epoch, index) for epoch in range(cache.config.epochs) for index in range(len(cache))]
    words = r"tokens_00001\.safetensors is damaged.*remove it, and the same magvit tokenize"
    with pytest.raises(ValueError, match=words):
        [cache[draw] for draw in draws]
