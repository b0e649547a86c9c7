"""The command line: every command runs, its help has an example, and help is quick."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, fields, replace
from math import prod
from pathlib import Path

import numpy as np
import pytest
import torch

import magvit
from forked import run_forked
from magvit import MagvitPipeline, MaskedTransformer, perceptual
from magvit.autoregressive import AutoregressiveConfig, AutoregressiveTransformer
from magvit.cli import COMMANDS as COMMAND_TABLE
from magvit.cli import main, parse_arguments
from magvit.cli.decoding import DecodingOptions
from magvit.cli.parts import _compute_part
from magvit.decoding import Decoding
from magvit.device import quickest_dtype
from magvit.editing.edit import edit
from magvit.evaluation import metrics
from magvit.generator_config import MaskedGenerator
from magvit.interop import official
from magvit.model_config import ModelConfig
from magvit.pipeline import MagvitPipeline as Pipeline
from magvit.tasks import Vocabulary
from magvit.tokenizer import VideoTokenizer
from magvit.training.processes import FailedElsewhere
from magvit.transformer import TransformerConfig
from magvit.video import read_metadata, read_video, write_video
from tiny_model import CLIP_SHAPE, random_clip, tiny_pipeline
from tiny_runs import TOKENIZER


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("cli") / "model"
    tiny_pipeline().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("cli") / "clip.mp4"
    write_video(path, random_clip(frames=10, height=20, width=30))
    return str(path)


FLOAT32 = ("--dtype", "float32")
MAIN = "import sys; from magvit.cli import main; sys.exit(main())"
"""`magvit` in a process of its own."""


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


COMMANDS = [
    "demo",
    "generate",
    "extend",
    "animate",
    "panorama",
    "stop-motion",
    "remove",
    "reconstruct",
    "encode",
    "decode",
    "serve",
    "presets",
    "shard",
    "tokenize",
    "doctor",
    "data prepare",
    "convert official",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command.split(), "--help"]) == 0
    shown = capsys.readouterr()
    assert f"\n    magvit {command}" in shown.out
    assert not shown.err


def test_help_lists_the_commands_without_torch() -> None:
    script = "import sys; from magvit.cli import main; code = main(['--help']); print('torch' in sys.modules, code)"
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[-1] == "False 0"
    assert all(f"• {command.split()[0]}" in shown for command in COMMANDS)


def test_help_has_one_line_for_a_command_and_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == main(["data", "-h"]) == main(["--version"]) == 0
    shown = capsys.readouterr().out
    listed = [line for line in shown.splitlines() if line.startswith("  •")]
    assert len(listed) == len(COMMAND_TABLE) + 1
    assert max(map(len, shown.splitlines())) <= 110
    assert shown.endswith(f"\nmagvit {magvit.__version__}\n")


RECIPE_COMMANDS = ["train tokenizer folder", "train transformer folder"]


@pytest.mark.parametrize("command", [*COMMANDS, *RECIPE_COMMANDS])
def test_every_option_is_explained(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command.split(), "--help-all"]) == 0
    shown = " ".join(re.sub(r"[│╭╮╰╯─]+|-{9,}", " ", capsys.readouterr().out).split())
    metavar = r"(?: (?:[A-Z{\[]\S*|\S*[\]}]))*"
    assert re.findall(rf"(--[\w.-]*\w(?:, --[\w.-]+)?){metavar} \((?:default|required)", shown) == []
    assert not re.search(r" (STR|PATH|INT) (STR|PATH|INT) ", shown.partition("positional")[2].partition("options")[0])


@pytest.mark.parametrize("command", RECIPE_COMMANDS)
def test_help_of_a_recipe_shows_the_basic_options_first_and_leaves_out_what_is_seldom_changed(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = []
    for wanted in ("--help", "--help-all"):
        assert main([*command.split(), wanted]) == 0
        options = re.findall(r"^[│ ] (--[\w.-]+)", capsys.readouterr().out, re.MULTILINE)
        assert options[:5] == ["--output", "--data", "--resume", "--seed", "--num-workers"]
        assert {"--loop.num-steps", "--data.stride"} <= {*options}
        counts.append(len(options))
    assert counts[0] < 45 < 80 < counts[1]


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("generat", "unknown command 'generat': did you mean generate?"),
        ("data prepar", "unknown command 'data prepar': did you mean prepare?"),
        ("convert", "no command is given, expected one of official"),
        ("train tokeniser folder", "unknown command 'train tokeniser': did you mean tokenizer?"),
        ("train transformer foldr", "unknown command 'train transformer foldr': did you mean folder?"),
        ("--input x", "unknown command '--input', expected one of demo, generate"),
    ],
)
def test_a_wrong_command_names_the_one_that_was_meant(typed: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        parse_arguments(typed.split())


def test_the_number_of_workers_has_one_name_everywhere() -> None:
    train = parse_arguments(["train", "tokenizer", "folder", "--num-workers", "7", "--seed", "5"])
    assert (train.config.loop.num_workers, train.config.loop.seed) == (7, 5)  # type: ignore[attr-defined]
    for start in ("data prepare folder a b", "shard --data a --output b", "tokenize --output b"):
        assert parse_arguments([*start.split(), "--num-workers", "7"]).num_workers == 7  # type: ignore[attr-defined]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".gif", ".webp", ".png"])
def test_a_clip_comes_back_at_its_size(
    model: str, clip: str, tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "new" / f"out{suffix}"
    common = ("--model", model, "--num-steps", 2, "--num-samples", 2, "--device", "cpu")
    assert run("generate", "--task", "FP", "--input", clip, "--output", output, *common) == 0
    assert sorted(path.name for path in output.parent.iterdir()) == [f"out_000{suffix}", f"out_001{suffix}"]
    found = read_video(output.with_stem("out_000"))
    assert found.shape == ((3, 1, 20, 8 * 30) if suffix == ".png" else (3, 10, 20, 30))
    shown = capsys.readouterr()
    assert f"wrote {output.with_stem('out_001')}: 10 frames of 30x20 at 8 fps" in shown.out
    assert not shown.err


def test_clips_without_an_input_are_one_file_side_by_side(model: str, tmp_path: Path) -> None:
    output = tmp_path / "new" / "out.mp4"
    assert run("generate", "--task", "UG", "--model", model, "--output", output, "--num-samples", 2) == 0
    assert [path.name for path in output.parent.iterdir()] == [output.name]
    _, height, width = CLIP_SHAPE
    assert read_video(output).shape[2:] == (height, 2 * width)


def test_extend(model: str, clip: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "longer.webp"
    how = ("--duration", 1, "--label", "walk", "--num-steps", 2, "--model", model, "--size", "20")
    assert run("extend", "--input", clip, "--output", output, *how) == 0
    assert read_video(output).shape == (3, 18, 20, 30)
    for wrong, words in (
        ("--duration=0", "duration is 0"),
        ("--size=big", "size is 'big'"),
        ("--seed=-1", "seed is -1"),
    ):
        assert run("extend", "--input", clip, "--output", tmp_path / "o.mp4", *how, wrong) == 2
        assert words in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [output.name]


def test_generate_a_folder_with_a_file_for_each_sample(model: str, tmp_path: Path) -> None:
    common = ("--model", model, "--num-steps", 1, "--num-samples", 3, "--output", tmp_path / "samples")
    assert run("generate", "--task", "class_generation", "--label", "jump", *common) == 0
    assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == [f"sample_00{i}.mp4" for i in range(3)]


@pytest.mark.parametrize("kept", [(), ("--no-keep-given",)])
def test_generate_takes_the_options_of_sampling(model: str, clip: str, tmp_path: Path, kept: tuple[str, ...]) -> None:
    output = tmp_path / "out.webp"
    options = ("--num-steps", 3, "--seed", 4, "--guidance-scale", 1.5, "--top-k", 5, "--mask-schedule", "uniform")
    more = ("--temperature", 0.7, "--mask-temperature", 2.0, "--top-p", 0.9, "--label", 2, *kept, *FLOAT32)
    more += ("--order", "random", "--guidance-schedule", "linear")
    assert run("generate", "--task", "CFP", "--input", clip, "--model", model, "--output", output, *options, *more) == 0
    decoding = Decoding(
        order="random",
        guidance_schedule="linear",
        num_steps=3,
        guidance_scale=1.5,
        top_k=5,
        mask_schedule="uniform",
        temperature=0.7,
        mask_temperature=2.0,
        top_p=0.9,
    )
    pipe, expected, named = Pipeline.from_pretrained(model), tmp_path / "expected.webp", {"metadata": {"model": model}}
    edit(pipe, "CFP", clip, expected, label=2, keep_given=not kept, seed=4, decoding=decoding, **named)
    assert output.read_bytes() == expected.read_bytes()


@pytest.mark.filterwarnings("ignore:this model has not learnt to fill any region")
def test_generate_takes_the_options_of_editing(model: str, clip: str, tmp_path: Path) -> None:
    output, expected = tmp_path / "out.webp", tmp_path / "expected.webp"
    options = ("--start", 0.25, "--duration", 1, "--target-fps", 16, "--region", "0,0,.5,1:.5,0,1,1", "--size", 20)
    common = ("--model", model, "--num-steps", 1, "--output", output, *FLOAT32)
    assert run("generate", "--task", "IPC", "--input", clip, *common, *options) == 0
    pipe = Pipeline.from_pretrained(model)
    done = edit(
        pipe,
        "IPC",
        clip,
        expected,
        start=0.25,
        duration=1,
        target_fps=16,
        region="0,0,.5,1:.5,0,1,1",
        size=20,
        decoding=pipe.decoding("IPC", num_steps=1),
        metadata={"model": model},
    )
    assert (done.num_frames, done.fps) == (16, 16)
    assert output.read_bytes() == expected.read_bytes()


def test_networks_work_in_what_is_asked_for(model: str, clip: str, tmp_path: Path) -> None:
    quickest = str(quickest_dtype(torch.device("cpu"))).removeprefix("torch.")
    for dtype, precision in (("float32", "float32"), ("bfloat16", "bfloat16"), ("auto", quickest)):
        how = ("--model", model, "--dtype", dtype, "--num-steps", 1, "--output", tmp_path / "o.mp4")
        assert run("extend", "--input", clip, "--duration", 0.2, *how) == 0
        assert (read_metadata(tmp_path / "o.mp4") or {})["precision"] == precision


def test_a_warning_is_one_line(tmp_path: Path) -> None:
    """A model of one task does another: with a warning, as in Table 4 of the paper."""
    pipe = tiny_pipeline()
    vocabulary = replace(pipe.config.generator.vocabulary, num_special=1)
    transformer = replace(pipe.config.generator.transformer, vocab_size=vocabulary.size)
    taught = MaskedGenerator(vocabulary=vocabulary, transformer=transformer, tasks=("frame_prediction",))
    config = replace(pipe.config, generator=taught)
    MagvitPipeline(config, pipe.tokenizer, MaskedTransformer(transformer)).save_pretrained(tmp_path / "model")
    command = ["generate", "--task", "CG", "--model", str(tmp_path / "model"), "--output", str(tmp_path / "out.gif")]
    done = run_forked(MAIN, *command)
    said = "magvit: this model was trained on frame_prediction alone: expect little of class_generation\n"
    assert said in done.stderr
    assert "UserWarning" not in done.stderr


def test_every_option_of_sampling_can_be_given_by_command() -> None:
    assert {field.name for field in fields(DecodingOptions)} == {field.name for field in fields(Decoding)}


def test_reconstruct_with_tokens(model: str, clip: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output, tokens = tmp_path / "back.png", tmp_path / "made" / "tokens.npz"
    assert run("reconstruct", "--input", clip, "--output", output, "--tokens", tokens, "--model", model) == 0
    pipe = MagvitPipeline.from_pretrained(model)
    with np.load(tokens) as stored:
        assert torch.equal(torch.from_numpy(stored["tokens"])[None], pipe.tokenizer.encode(pipe.prepare(clip)))
    assert output.is_file()
    assert [path.name for path in tokens.parent.iterdir()] == ["tokens.npz"]
    assert f"wrote {output}: the first 8 of 10 frames, 16x16 at 8 fps\n" in capsys.readouterr().out


def test_demo(model: str, clip: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("demo", "--input", clip, "--model", model, "--num-steps", 1, "--output", tmp_path) == 0
    assert (tmp_path / "report.md").is_file()
    assert not capsys.readouterr().err


def test_presets_lists_tasks_and_sizes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("presets") == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("frame_prediction", "OPC", "3dvq-b", "magvit-l"))


def test_convert_official(tmp_path: Path) -> None:
    pipe = tiny_pipeline()
    assert pipe.transformer is not None
    np.savez(tmp_path / "vq.npz", **official.to_official(pipe.tokenizer))
    np.savez(tmp_path / "bert.npz", **official.to_official(pipe.transformer))
    shape = ("--clip-shape", *CLIP_SHAPE)
    assert run("convert", "official", tmp_path / "vq.npz", tmp_path / "tokenizer", *shape) == 0
    transformer = ("--transformer", tmp_path / "bert.npz")
    assert run("convert", "official", tmp_path / "vq.npz", tmp_path / "both", *transformer, *shape) == 0
    assert not (tmp_path / "tokenizer" / "transformer.safetensors").exists()
    loaded = MagvitPipeline.from_pretrained(tmp_path / "both")
    assert loaded.config.generator is not None
    vocabulary = loaded.config.generator.vocabulary
    assert (vocabulary.num_classes, vocabulary.num_special) == (3, 16)
    assert loaded.config.tokenizer.padding == "zero"  # as the official models
    for ours, theirs in ((pipe.tokenizer, loaded.tokenizer), (pipe.transformer, loaded.transformer)):
        assert theirs is not None
        there = theirs.state_dict()
        assert all(torch.equal(tensor, there[name]) for name, tensor in ours.state_dict().items())
    assert run("convert", "official", tmp_path / "bert.npz", tmp_path / "wrong", *shape) == 2
    assert not (tmp_path / "wrong").exists()


@pytest.mark.parametrize(("max_length", "mask_mode", "task"), [(33, "commit", "CG"), (50, "prefix", "CFP")])
def test_convert_an_official_autoregressive_model(tmp_path: Path, max_length: int, mask_mode: str, task: str) -> None:
    """Its sizes tell whether it reads a condition: here 16 tokens and the separator."""
    sizes = {"hidden_size": 16, "num_layers": 1, "num_heads": 2, "mlp_size": 32}
    network = AutoregressiveTransformer(AutoregressiveConfig(vocab_size=32 + 3 + 2, max_length=max_length, **sizes))
    np.savez(tmp_path / "vq.npz", **official.to_official(tiny_pipeline().tokenizer))
    np.savez(tmp_path / "lm.npz", **official.to_official(network))
    paths = (tmp_path / "vq.npz", tmp_path / "model", "--transformer", tmp_path / "lm.npz")
    assert run("convert", "official", *paths, "--clip-shape", *CLIP_SHAPE) == 0
    pipe = MagvitPipeline.from_pretrained(tmp_path / "model")
    assert pipe.config.generator is not None
    assert pipe.config.generator.mask_mode == mask_mode
    made = pipe(task, random_clip() if mask_mode == "prefix" else None, label=2, temperature=0.0)
    assert made.tokens.shape == (1, 2, 4, 4)


def test_interruption(model: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Pipeline, "__call__", interrupted)
    assert run("generate", "--task", "UG", "--output", tmp_path / "out.mp4", "--model", model) == 130
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 48.0 GiB for an array"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 48.00 GiB.\nmore"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to"),
    ],
)
def test_want_of_memory_is_one_sentence(
    model: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    def large(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Pipeline, "__call__", large)
    assert run("generate", "--task", "UG", "--output", tmp_path / "new" / "out", "--model", model) == 2
    told = capsys.readouterr().err.splitlines()
    assert told == ["magvit: out of memory: smaller batches or clips, fewer samples, or another --device may do"]
    assert list(tmp_path.iterdir()) == []


def test_samples_of_an_earlier_call_go_and_other_files_stay(model: str, tmp_path: Path) -> None:
    order = ["generate", "--task", "UG", "--output", tmp_path, "--model", model]
    assert run(*order, "--num-samples", 5) == 0
    five = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    (tmp_path / "sample_mine.mp4").write_bytes(b"")
    assert run(*order, "--num-samples", 3, "--batch-size", 2) == 0
    names = [f"sample_00{number}.mp4" for number in range(3)]
    assert sorted(os.listdir(tmp_path)) == [*names, "sample_mine.mp4"]
    for name in names:  # the batches change nothing
        assert (tmp_path / name).read_bytes() == five[name]


PEAKS = """
import resource, sys
from magvit.cli import main
peaks = []
for number in ("2", "40"):
    assert main([*sys.argv[2:], "--output", f"{sys.argv[1]}/{number}", "--num-samples", number]) == 0
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
print(*peaks)
"""


def test_memory_is_flat_in_the_number_of_samples(tmp_path: Path) -> None:
    clip_shape = (16, 64, 64)
    vocabulary = Vocabulary(TOKENIZER.codebook_size, num_classes=0)
    length = 2 + prod(TOKENIZER.latent_shape(clip_shape))
    transformer = TransformerConfig(
        vocab_size=vocabulary.size, max_length=length, hidden_size=8, num_layers=1, num_heads=1, mlp_size=8
    )
    generator = MaskedGenerator(transformer=transformer, vocabulary=vocabulary)
    config = ModelConfig(tokenizer=TOKENIZER, clip_shape=clip_shape, generator=generator)
    pipe = MagvitPipeline(config, VideoTokenizer(TOKENIZER), MaskedTransformer(transformer))
    pipe.save_pretrained(tmp_path / "model")
    order = ("generate", "--task", "UG", "--num-steps", "1", "--batch-size", "2", "--device", "cpu", "--model")
    few, many = map(int, run_forked(PEAKS, tmp_path, *order, tmp_path / "model").stdout.split()[-2:])
    assert (
        many - few < 40
    )  # MiB; 30 for each copy of the pixels, and 400 with the decoder's features, where all are at once


def test_a_terminal_that_lacks_a_sign_does_not_end_a_command() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    script = (
        "import sys; from magvit.cli import Presets, main; Presets.run = lambda self: print('83 \u00b1 2 \u2191'); "
        "sys.exit(main(['presets']))"
    )
    process = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=False)
    assert (process.returncode, process.stdout) == (0, b"83 \\xb1 2 \\u2191\n")


def test_a_bug_keeps_its_traceback(model: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(Pipeline, "__call__", broken)
    with pytest.raises(KeyError):
        run("generate", "--task", "UG", "--output", tmp_path / "out.mp4", "--model", model)


def test_debugging_shows_the_traceback_of_wrong_input(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MAGVIT_DEBUG", "1")
    with pytest.raises(OSError, match="no model"):
        run("generate", "--task", "UG", "--output", tmp_path / "out.mp4", "--model", "nowhere")


def test_closed_pipe_is_no_error() -> None:
    closed = "import os; reader, writer = os.pipe(); os.close(reader); os.dup2(writer, 1)"
    process = run_forked(f"{closed}; {MAIN}", "presets", check=False)
    assert (process.returncode, process.stderr) == (141, "")


@pytest.mark.parametrize("recipe", ["debug", "folder", "3dvq-b-ucf101"])
def test_the_discriminator_follows_the_clip_shape_of_the_data_unless_it_is_told_otherwise(recipe: str) -> None:
    """Past bug: the shape had to be said twice."""
    command = ["train", "tokenizer", recipe, "--data.clip-shape", "8", "32", "32"]
    assert parse_arguments(command).config.discriminator.clip_shape == (8, 32, 32)  # type: ignore[attr-defined]
    words = r"discriminator.clip_shape is \(8, 16, 16\), expected data.clip_shape \(8, 32, 32\)"
    with pytest.raises(ValueError, match=words):
        parse_arguments([*command, "--discriminator.clip-shape", "8", "16", "16"])


@pytest.mark.parametrize(
    "order", ["demo --output o", "generate --task UG --output o", "generate --task UG --output o.gif"]
)
def test_a_rate_that_cannot_be_written_is_told_before_the_work(
    order: str, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Past bug: after it."""
    shutil.copytree(model, tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    (tmp_path / "model" / "config.json").write_text(json.dumps(config | {"fps": 2000.0}))
    monkeypatch.setattr(magvit.MagvitPipeline, "from_pretrained", None)
    monkeypatch.chdir(tmp_path)
    assert main([*order.split(), "--model", "model"]) == 2
    assert "fps is 2000.0, expected a number from 0.01 to" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


LATER = {
    "weights": (magvit.MagvitPipeline, "from_pretrained"),
    "perceptual": (perceptual, "load"),
    "metrics": (metrics, "load_networks"),
}


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("generate --task FP --input nowhere.mp4 --output o.mp4", "nowhere.mp4: No such file"),
        ("generate --task FP --input . --output o", "none of the 1 clips of . will do: text.mp4 is not a video"),
        ("generate --task FP --input . --output o.mp4", ". is a folder of clips, expected another folder as output"),
        ("generate --task FP --input {} --output o.mp4", "is a folder without numbered pictures"),
        ("animate text.mp4 --output o.mp4", "text.mp4 is not a video"),
        ("animate . --output o.mp4", ". is a folder without numbered pictures"),
        ("remove nowhere.mp4 --output o.mp4", "neither a mask nor a region is given"),
        ("remove nowhere.mp4 --mask m.png --output o.mp4", "nowhere.mp4: No such file"),
        ("panorama text.mp4 --width 1 --output o.mp4", "width is 1, expected more than 1"),
        ("panorama nowhere.mp4 --output o.mp4", "nowhere.mp4: No such file"),
        ("stop-motion --output o.mp4", "no pictures are given"),
        ("stop-motion a.png b.png --between 0 --output o.mp4", "between is 0"),
        ("stop-motion a.png b.png --output o.mp4", "a.png: No such file"),
        ("stop-motion a.png b.png --fps 60 --output o.gif", "fps is 60.0, expected a number from 0.01 to 50 for .gif"),
        ("generate --task FP --input text.mp4 --output o.mp4", "text.mp4 is not a video"),
        ("generate --task juggling --output o.mp4", "unknown task 'juggling'"),
        ("generate --task CG --label fly --output o.mp4", "label is 'fly'"),
        ("generate --task UG --region 0,0,1,1 --output o.mp4", "there is no input"),
        ("extend --input nowhere.mp4 --duration 1 --output o.mp4", "nowhere.mp4: No such file"),
        ("extend --input text.mp4 --duration 1 --output o.mp4", "text.mp4 is not a video"),
        ("generate --task UG --num-steps 9999 --output o.mp4", "num_steps is 9999"),
        ("generate --task UG --num-samples 0 --output o.mp4", "num_samples is 0"),
        ("generate --task UG --batch-size 0 --output o.mp4", "batch_size is 0"),
        ("generate --task UG --seed -1 --output o.mp4", "seed is -1"),
        ("reconstruct --input nowhere.mp4 --output o.mp4", "nowhere.mp4: No such file"),
        ("reconstruct --input text.mp4 --output o.mp4", "text.mp4 is not a video"),
        *(
            (f"{command} --revision v2", "revision is 'v2', but magvit-tiny is here and not on the hub")
            for command in ("generate --task UG --output o.mp4", "panorama text.mp4 --output o.mp4", "demo")
        ),
        ("demo --input nowhere.mp4", "nowhere.mp4: No such file"),
        ("demo --input text.mp4", "text.mp4 is not a video"),
        ("demo --label fly", "label is 'fly'"),
        ("demo --num-steps 0", "num_steps is 0"),
        ("train tokenizer folder", "no data: give a folder of clips"),
        *(
            (f"train tokenizer debug {options}", words)  # past bug: one won
            for options, words in (
                ("--data a --data.folder b", "data is a and data.folder, for which it is short, b: give one of them"),
                ("--seed 3 --loop.seed 4", "seed is 3 and loop.seed, for which it is short, 4: give one of them"),
                ("--num-workers 1 --loop.num-workers 2", "num_workers is 1 and loop.num_workers, for which it"),
            )
        ),
        ("train tokenizer debug --init-from nowhere", 'no model "nowhere"'),
        ("train tokenizer debug --output {}", "is a model, expected a tokenizer run"),
        ("data prepare folder {} prepared", "is a model, expected clips"),
        ("compare {} {}", "is a model, expected an evaluation"),
        ("train tokenizer folder --data nowhere", "nowhere does not exist"),
        ("train transformer folder --tokenizer magvit-tiny", "no data: give a folder of clips"),
        ("train transformer folder --tokenizer magvit-tiny --data nowhere", "nowhere does not exist"),
        ("evaluate --model magvit-tiny --data nowhere --output o", "nowhere does not exist"),
        *(
            (f"evaluate --data synthetic:shapes --clip-shape 8 32 32 --output o {options}", words)
            for options, words in (
                ("--baseline repeat --num-steps 4", "there is no model here, which num_steps would be for"),
                ("--baseline repeat --precision bfloat16 --compile", "no model here, which precision, compile would"),
                ("--fake synthetic:digits --revision 2 --top-k 3", "no model here, which revision, top_k would be for"),
                ("--model magvit-tiny --protocol reconstruction --order halton", "nothing is sampled here, which"),
            )
        ),
        ("encode text.mp4 --num-steps 3 --output o.magvit", "num_steps is 3, which the coding adaptive has no use for"),
        ("generate --task FP --input text.mp4 --batch-size 2 --output o.mp4", "batch_size is 2, but results of an"),
        ("generate --task UG --no-keep-given --output o.mp4", "there is no input, which --start, --region, --no-keep"),
        ("evaluate --model magvit-tiny --data synthetic:pushing --metrics fwd --output o", "fwd"),
        ("evaluate --model magvit-tiny --data synthetic:pushing --tasks XX --output o", "unknown task 'XX'"),
        ("evaluate --model magvit-tiny --data synthetic:pushing --protocol none --output o", "unknown protocol"),
        ("evaluate --model magvit-tiny --data synthetic:pushing --i3d nowhere --output o", "nowhere does not exist"),
        (
            "evaluate --baseline repeat --data synthetic:shapes --metrics pushing_accuracy --tasks CFP --num-samples 4"
            " --clip-shape 8 32 32 --allow-fewer --output o",
            "the classes of synthetic:pushing",
        ),
        ("tokenize --data nowhere --output o", "nowhere does not exist"),
        ("tokenize folde --data nowhere --output o", "unknown transformer recipe 'folde'"),
    ],
)
def test_cheap_checks_come_first(
    model: str,
    command: str,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Past bug: each of these loaded a model, or downloaded weights, first."""

    def load(*_: object, **__: object) -> None:
        raise AssertionError("loaded before the check")

    for home, name in LATER.values():
        monkeypatch.setattr(home, name, load)
    (tmp_path / "text.mp4").write_text("no video")
    monkeypatch.chdir(tmp_path)
    assert main(command.replace("{}", model).split()) == 2
    assert words in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["text.mp4"]


@pytest.mark.parametrize(
    ("command", "lacking", "extra"),
    [
        ("demo", "av", "video"),
        ("serve", "gradio", "demo"),
        ("generate --task UG --output o.mp4", "PIL", "video"),
        ("reconstruct --input clip.mp4 --output o.mp4", "av", "video"),
        ("shard --data . --output o", "av", "video"),
        ("data prepare folder . o", "PIL", "video"),
        ("evaluate --fake . --data . --output o", "av", "video"),
        ("train tokenizer debug", "lightning", "train"),
    ],
)
def test_what_needs_an_extra_says_so_before_any_work(
    command: str,
    lacking: str,
    extra: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "clip.mp4").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, lacking, None)
    assert main(command.split()) == 2
    told = f'magvit: {lacking} not found, which this needs: pip install "magvit[{extra}]"\n'
    assert capsys.readouterr().err == told
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


def test_help_of_training_needs_no_extra() -> None:
    """Past bug: a traceback."""
    without = "import sys; sys.modules.update(lightning=None, av=None, PIL=None); from magvit.cli import main"
    shown = run_forked(f"{without}; print(main(['train', 'tokenizer', 'debug', '--help']))").stdout
    assert shown.endswith("\n0\n")


@pytest.mark.parametrize(
    "command", ["shard --data .", "tokenize --data .", "evaluate --fake . --data .", "train tokenizer debug"]
)
def test_resume_is_an_option_of_all_work_that_can_be_gone_on_with(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert parse_arguments([*command.split(), "--output", str(tmp_path), "--resume"]).resume  # type: ignore[attr-defined]
    if not command.startswith("train"):  # which looks for checkpoints
        (tmp_path / "config.json").write_text("{}")
        assert main([*command.split(), "--output", str(tmp_path), "--no-resume"]) == 2
        assert "holds work that was begun: go on with --resume, or" in capsys.readouterr().err


def test_a_terminal_that_knows_few_letters_gets_the_help_too() -> None:
    """Past bug: an error, in place of the help."""
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "magvit", "--help"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "demo " in done.stdout


@pytest.mark.parametrize("error", [FailedElsewhere("what the first one says"), KeyboardInterrupt()])
def test_all_processes_but_the_first_end_a_training_quietly(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], error: BaseException
) -> None:
    def failing(*_: object, **__: object) -> Path:
        raise error

    monkeypatch.setattr("magvit.training.processes.is_first_process", lambda: False)
    monkeypatch.setattr("magvit.training.train_tokenizer.train_tokenizer", failing)
    parse_arguments(["train", "tokenizer", "debug", "--output", str(tmp_path)]).run()
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("gpus", "asked", "given"), [(2, "cuda", "cuda:1"), (2, "auto", "cuda:1"), (0, "auto", "cpu")])
def test_each_process_of_several_has_a_gpu_of_its_own(
    monkeypatch: pytest.MonkeyPatch, gpus: int, asked: str, given: str
) -> None:
    used = []

    @dataclass(frozen=True)
    class Command:
        device: str
        part: tuple[int, int] = (0, 1)

        def compute(self) -> None:
            used.append((self.device, self.part))

    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    _compute_part(3, Command(asked), 4, torch.get_num_threads())
    assert used == [(given, (3, 4))]
