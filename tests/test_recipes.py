"""Every recipe builds, is the paper's, fits those before and after it, trains when shrunk, and says what it costs."""

import inspect
import json
import math
import re
import shlex
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch._subclasses.fake_tensor import FakeTensorMode

from magvit import MagvitPipeline
from magvit.cli import main, parse_arguments
from magvit.decoding import Decoding
from magvit.generation import make_transformer
from magvit.hub import load_tensors
from magvit.model_config import ModelConfig
from magvit.nn.attention import TransformerSize
from magvit.presets import DISCRIMINATORS, TOKENIZERS, TRANSFORMERS
from magvit.recipes import TOKENIZER_RECIPES, TRANSFORMER_RECIPES
from magvit.synthetic import MovingShapes
from magvit.tasks import TASKS, get_task, sequence_length
from magvit.tokenizer import Discriminator, VideoTokenizer
from magvit.training.config import TokenizerRun, TransformerRun
from magvit.training.design import design
from magvit.training.engine import Machine
from magvit.training.train_tokenizer import train_tokenizer
from magvit.training.train_transformer import train_transformer
from magvit.video import write_video

RECIPES = [("tokenizer", name) for name in TOKENIZER_RECIPES] + [("transformer", name) for name in TRANSFORMER_RECIPES]
OURS = ("debug", "magvit-tiny", "folder")
PAPER_TOKENIZERS = [name for name in TOKENIZER_RECIPES if name not in OURS]
PAPER_TRANSFORMERS = [name for name in TRANSFORMER_RECIPES if name not in OURS]


def recipe(stage: str, name: str):
    return (TOKENIZER_RECIPES if stage == "tokenizer" else TRANSFORMER_RECIPES)[name]


def command(stage: str, name: str) -> list[str]:
    """The command in a recipe's docstring, split into words."""
    text = inspect.getdoc(recipe(stage, name)) or ""
    (found,) = re.findall(rf"^ *(magvit train {stage} +{re.escape(name)}(?= ).*)$", text, re.MULTILINE)
    return shlex.split(found)


def model_of(stage: str, name: str) -> str:
    """The model folder that the command of a recipe leaves."""
    words = command(stage, name)
    return words[words.index("--output") + 1] + "/model"


TOKENIZER_MODELS = {model_of("tokenizer", name): name for name in TOKENIZER_RECIPES}


def designed(name: str, num_classes: int) -> ModelConfig:
    """The model of a transformer recipe on the tokenizer it names, and data of so many classes."""
    run = TRANSFORMER_RECIPES[name]()
    stage_1 = TOKENIZER_RECIPES[TOKENIZER_MODELS[run.tokenizer]]()
    of_tokenizer = ModelConfig(tokenizer=stage_1.tokenizer, clip_shape=stage_1.data.clip_shape)
    return design(run, of_tokenizer, tuple(map(str, range(num_classes))))


# --- the parts fit together


@pytest.mark.parametrize("name", TOKENIZER_RECIPES)
def test_the_parts_of_stage_1_fit_together(name):
    run = TOKENIZER_RECIPES[name]()
    assert isinstance(run, TokenizerRun)
    t, h, w = run.tokenizer.latent_shape(run.data.clip_shape)
    assert t * h * w >= 12  # as many as the usual decoding steps
    with torch.device("meta"):
        tokenizer, discriminator = VideoTokenizer(run.tokenizer), Discriminator(run.discriminator)
    with FakeTensorMode(allow_non_fake_inputs=True):  # shapes alone, on a device that autocast knows
        video = torch.empty(2, 3, *run.data.clip_shape)
        latents = tokenizer.to_empty(device="cpu").encode_latents(video)
        assert latents.shape == (2, run.tokenizer.codebook_dim, t, h, w)
        assert tokenizer.decode_latents(latents).shape == video.shape
        if run.losses.adversarial_weight:
            frames = 1 if run.discriminator.dims == 3 else video.shape[2]
            assert discriminator.to_empty(device="cpu")(video).shape == (2, frames)
    if run.losses.adversarial_weight:
        assert run.discriminator.dims == run.tokenizer.dims
    assert run.generator_optimizer.warmup_steps < run.loop.num_steps


@pytest.mark.parametrize("name", TRANSFORMER_RECIPES)
def test_the_parts_of_stage_2_fit_the_tokenizer_it_names(name):
    run = TRANSFORMER_RECIPES[name]()
    assert isinstance(run, TransformerRun)
    stage_1 = TOKENIZER_RECIPES[TOKENIZER_MODELS[run.tokenizer]]()
    frames = run.data.clip_shape[0] if stage_1.tokenizer.dims == 3 else 4  # a 2D-VQ does clips of any number
    assert (frames, *run.data.clip_shape[1:]) == stage_1.data.clip_shape
    config = designed(name, num_classes=2)
    t, h, w = config.tokenizer.latent_shape(config.clip_shape)
    vocabulary, transformer = config.generator.vocabulary, config.generator.transformer
    clip, given = torch.rand(1, 3, *run.data.clip_shape), []
    for task in map(get_task, run.tasks):
        condition = task.condition(clip, (t, h, w), run.condition_frames)
        assert condition.cond_token_mask.shape == (1, t, h, w)
        assert condition.cond_token_mask.any() == task.needs_video
        given.append(int(condition.cond_token_mask.sum()))
    length = sequence_length(vocabulary, t * h * w, run.mask_mode, max(given))
    with torch.device("meta"):
        network, ids = make_transformer(config.generator), torch.empty(1, length, dtype=torch.long)
        logits = network.to("meta")(ids, ids if run.num_segments else None)
    assert logits.shape == (1, length, vocabulary.size)
    assert transformer.max_length == length
    assert run.optimizer.warmup_steps < run.loop.num_steps


@pytest.mark.parametrize("name", TOKENIZER_RECIPES)
def test_a_tokenizer_starts_from_a_model_that_another_recipe_leaves(name):
    run = TOKENIZER_RECIPES[name]()
    if name in OURS or name.endswith("imagenet"):
        assert run.init_from is None
        return
    source = TOKENIZER_RECIPES[TOKENIZER_MODELS[run.init_from]]()
    assert source.tokenizer == replace(run.tokenizer, dims=2)
    assert source.data.clip_shape == (1, *run.data.clip_shape[1:])


@pytest.mark.parametrize("name", TRANSFORMER_RECIPES)
def test_stage_2_begins_where_stage_1_ends(name):
    words = command("transformer", name)
    if "--tokenizer" in words:
        assert words[words.index("--tokenizer") + 1] == TRANSFORMER_RECIPES[name]().tokenizer
    assert TRANSFORMER_RECIPES[name]().tokenizer in TOKENIZER_MODELS


# --- the recipes are the paper's

# Steps, warm-up steps, clips a step: NOTES sections 1 and 2 (official configs, run); Table 9 for Kinetics-600 and SSv2.
SCHEDULES = {
    "2dvq-b-ucf101": (37_000, 37, 256),
    "2dvq-l-ucf101": (37_000, 37, 256),
    "3dvq-b-ucf101": (37_000, 74, 128),
    "3dvq-l-ucf101": (74_000, 37, 256),
    "3dvq-b-bair": (135_200, 338, 128),
    "3dvq-l-bair": (135_200, 169, 256),
    "magvit-b-cg-ucf101": (74_000, 5000, 256),
    "magvit-l-cg-ucf101": (74_000, 5000, 256),
    "magvit-b-fp-bair": (67_600, 5000, 256),
    "magvit-l-fp-bair": (135_200, 5000, 256),
    "ar-b-fp-bair": (67_600, 5000, 256),
    "magvit-b-mt-bair": (202_800, 5000, 256),
    "magvit-l-mt-bair": (270_400, 5000, 256),
    "3dvq-b-kinetics600": (45 * 3000, 3000, 128),
    "3dvq-l-kinetics600": (180 * 1500, 1500, 256),
    "magvit-b-fp-kinetics600": (180 * 1500, 5000, 256),
    "magvit-l-fp-kinetics600": (360 * 1500, 5000, 256),
    "3dvq-b-ssv2": (135 * 1319, 1319, 128),
    "3dvq-l-ssv2": (400 * 659, 659, 256),
    "2dvq-b-bair": (67_600, 169, 256),
    "2dvq-l-bair": (135_200, 169, 256),
    "magvit-b-unc-bair": (67_600, 5000, 256),
    "magvit-b-unc-2dvq-bair": (67_600, 5000, 256),
    "magvit-b-unc-ssv2": (720 * 659, 5000, 256),
    "magvit-b-fp-ssv2": (720 * 659, 5000, 256),
    "3dvq-b-nuscenes": (1280 * 42, 42, 128),
    "3dvq-l-nuscenes": (5120 * 21, 21, 256),
    "magvit-b-fp-nuscenes": (2560 * 21, 5000, 256),
    "magvit-l-fp-nuscenes": (10_240 * 21, 5000, 256),
    "3dvq-b-objectron": (1000 * 112, 112, 128),
    "3dvq-l-objectron": (2000 * 56, 56, 256),
    "magvit-b-fi-objectron": (1000 * 56, 5000, 256),
    "magvit-l-fi-objectron": (2000 * 56, 5000, 256),
    "magvit-b-mt-ssv2": (720 * 659, 5000, 256),
    "magvit-l-mt-ssv2": (1440 * 659, 5000, 256),
}


def test_schedules_are_known_for_all_but_the_image_models():
    names = {*PAPER_TOKENIZERS, *PAPER_TRANSFORMERS}
    assert {name for name in names if not name.endswith("imagenet")} == SCHEDULES.keys()


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(name):
    run = (TOKENIZER_RECIPES.get(name) or TRANSFORMER_RECIPES[name])()
    optimizers = [run.optimizer] if isinstance(run, TransformerRun) else []
    if isinstance(run, TokenizerRun):
        optimizers = [run.generator_optimizer, run.discriminator_optimizer]
    for optimizer in optimizers:
        assert (run.loop.num_steps, optimizer.warmup_steps, run.loop.global_batch_size) == SCHEDULES[name]


@pytest.mark.parametrize("name", PAPER_TOKENIZERS)
def test_stage_1_trains_as_in_the_paper(name):
    run = TOKENIZER_RECIPES[name]()
    for optimizer in (run.generator_optimizer, run.discriminator_optimizer):
        assert (optimizer.learning_rate, optimizer.betas) == (1e-4, (0.0, 0.99))
        assert (optimizer.weight_decay, optimizer.clip_norm) == (0.0, None)
    assert (run.ema_decay, run.inflation, run.codebook_init) == (0.999, "central", "uniform")
    losses = run.losses
    assert (losses.reconstruction, losses.perceptual, losses.perceptual_weight) == ("l2", "resnet50", 0.1)
    assert (losses.adversarial, losses.adversarial_weight) == ("non-saturating", 0.1)
    assert (losses.r1_weight, losses.r1_interval) == (10.0, 1)
    assert (losses.commitment_weight, losses.codebook_weight, losses.entropy_weight) == (0.25, 1.0, 0.1)
    assert losses.lecam_weight > 0  # off in the release
    size = name[:6] + ("-64" if "64" in name or "bair" in name else "")  # its parameters are counted in test_presets
    assert run.tokenizer == TOKENIZERS[size]
    assert run.discriminator == replace(DISCRIMINATORS[size], clip_shape=run.data.clip_shape)
    assert run.data.clip_shape[1:] == ((64, 64) if "64" in name or "bair" in name else (128, 128))
    assert run.data.clip_shape[0] == (16 if run.tokenizer.dims == 3 else 1 if "imagenet" in name else 4)


@pytest.mark.parametrize("name", PAPER_TRANSFORMERS)
def test_stage_2_trains_as_in_the_paper(name):
    run = TRANSFORMER_RECIPES[name]()
    optimizer = run.optimizer
    assert (optimizer.learning_rate, optimizer.betas) == (1e-4, (0.9, 0.96))
    assert (optimizer.weight_decay, optimizer.clip_norm) == (0.045, 1.0)
    assert run.size == TRANSFORMERS["magvit-" + name.split("-")[1]]
    assert run.tokenizes_in == "float32"
    assert (run.size.dropout, run.label_smoothing, run.ema_decay) == (0.1, 1e-4, 0.0)
    expected = ("prefix", "all") if run.generator == "autoregressive" else ("commit", "kernels")
    assert (run.mask_mode, optimizer.decayed) == expected
    assert run.mask_schedule == "cosine"
    assert set(run.losses) == {"refine", "mask", "reconstruct"}
    assert run.task_weights == ()
    assert run.condition_frames == (5 if name.endswith("kinetics600") else 1)


# NOTES section 6: classes, tasks, vocabulary, positions.
STAGE_2_SEQUENCES = {
    "magvit-b-cg-ucf101": (101, 1, 1127, 1025),
    "magvit-l-cg-ucf101": (101, 1, 1127, 1025),
    "magvit-b-fp-bair": (0, 1, 1026, 1025),
    "magvit-l-fp-bair": (0, 1, 1026, 1025),
    "ar-b-fp-bair": (0, 1, 1026, 1025 + 257),  # the first of four latent frames, and SEP
    "magvit-b-unc-bair": (0, 1, 1026, 1025),
    "magvit-b-unc-2dvq-bair": (0, 1, 1026, 4097),
    "magvit-b-mt-bair": (0, 8, 1041, 1026),
    "magvit-l-mt-bair": (0, 8, 1041, 1026),
}


@pytest.mark.parametrize("name", STAGE_2_SEQUENCES)
def test_stage_2_reads_sequences_as_the_official_models(name):
    num_classes, num_tasks, vocabulary, positions = STAGE_2_SEQUENCES[name]
    run, config = TRANSFORMER_RECIPES[name](), designed(name, num_classes)
    assert len(run.tasks) == num_tasks
    assert run.data.labels == bool(num_classes)
    transformer = config.generator.transformer
    assert (transformer.vocab_size, transformer.max_length) == (vocabulary, positions)


def test_models_decode_as_in_the_papers_evaluations():
    """Single-task BAIR and Kinetics-600 have settings of their own; all others the default."""
    special = {"bair": ("exp", 400.0), "kinetics600": ("uniform", 7.5)}
    for name in (name for name in PAPER_TRANSFORMERS if TRANSFORMER_RECIPES[name]().generator == "masked"):
        tasks = TRANSFORMER_RECIPES[name]().tasks
        single = tasks == ("frame_prediction",)
        expected = special.get(name.rsplit("-", 1)[1], ("cosine", 4.5)) if single else ("cosine", 4.5)
        decoding = designed(name, num_classes=0).generator.decoding
        assert (decoding.mask_schedule, decoding.mask_temperature) == expected, name
        assert (decoding.mask_mode == "latent_masking") == (tasks == ("unconditional",))
        assert (decoding.num_steps, decoding.guidance_scale, decoding.order) == (12, 0.0, "confidence")
    assert designed("ar-b-fp-bair", num_classes=0).generator.decoding == Decoding().one_by_one(1024)


def test_tasks_are_those_of_the_paper():
    aliases = {
        name: [get_task(task).alias for task in TRANSFORMER_RECIPES[name]().tasks] for name in TRANSFORMER_RECIPES
    }
    eight = {"FP", "FI", "OPC", "OPV", "OPH", "OPD", "IPC", "IPD"}
    for size in "bl":
        assert aliases[f"magvit-{size}-cg-ucf101"] == ["CG"]
        assert aliases[f"magvit-{size}-fp-bair"] == aliases[f"magvit-{size}-fp-kinetics600"] == ["FP"]
        assert aliases[f"magvit-{size}-fp-nuscenes"] == ["FP"]
        assert aliases[f"magvit-{size}-fi-objectron"] == ["FI"]
        assert set(aliases[f"magvit-{size}-mt-bair"]) == eight
        assert set(aliases[f"magvit-{size}-mt-ssv2"]) == eight | {"CG", "CFP"}


def test_classes_that_tell_left_from_right_are_not_mirrored():
    mirrored = {name: run().data.flip for name, run in {**TOKENIZER_RECIPES, **TRANSFORMER_RECIPES}.items()}
    assert {name for name, flip in mirrored.items() if not flip} == {name for name in mirrored if name.endswith("ssv2")}


# --- what is written about them


@pytest.mark.parametrize(("stage", "name"), RECIPES)
def test_the_docstring_has_a_command_that_parses_and_a_cost(stage, name):
    words = command(stage, name)
    assert "--output" in words
    parse_arguments(words[1:])
    text = inspect.getdoc(recipe(stage, name)) or ""
    assert re.search(r"\d+(\.\d+)? (seconds|minutes|hours|s a step)|not yet run\s+\(20\d\d-\d\d-\d\d\)", text), name
    if name not in ("debug", "magvit-tiny"):
        assert re.search(r"Hardware: (one GPU|\d+ GPUs) of \d+ GB \(a guess", text), name


def test_frames_are_resized_as_in_the_papers_loaders():
    for stage, name in RECIPES:
        assert (recipe(stage, name)().data.resize == "tf_bilinear") == (name not in OURS)


@pytest.mark.parametrize("name", PAPER_TOKENIZERS)
def test_what_the_paper_does_not_say_is_called_a_guess(name):
    guesses = re.search(r"Guesses: (.*)", inspect.getdoc(TOKENIZER_RECIPES[name]) or "")[1]
    assert f"LeCam's weight {TOKENIZER_RECIPES[name]().losses.lecam_weight}" in guesses
    assert ("epochs" in guesses) == (name.endswith("imagenet") or ("2dvq" in name and name.endswith("bair")))
    assert ("inflation" in guesses) == (name.split("-")[-1] in ("kinetics600", "ssv2", "nuscenes", "objectron"))


@pytest.mark.parametrize("name", [name for name in SCHEDULES if "2dvq" not in name])
def test_hours_are_those_of_the_papers_speeds(name):
    """Steps a second of B on 16 TPU-v2 chips and of L on 32 TPU-v4; small clips, long sequences are other matters."""
    stage = "tokenizer" if name in TOKENIZER_RECIPES else "transformer"
    said = re.search(r"Hours: (\d+) on (16 TPU-v2|32 TPU-v4)", inspect.getdoc(recipe(stage, name)) or "")
    if name in ("3dvq-b-bair", "3dvq-l-bair", "ar-b-fp-bair"):
        assert said is None
        return
    speed = {("3dvq", "b"): 0.41, ("3dvq", "l"): 0.56, ("magvit", "b"): 1.24, ("magvit", "l"): 2.70}
    model, size = name.split("-")[:2]
    assert said is not None
    assert said[2] == {"b": "16 TPU-v2", "l": "32 TPU-v4"}[size]
    assert int(said[1]) == round(SCHEDULES[name][0] / speed[model, size] / 3600)


@pytest.mark.parametrize(("stage", "name"), RECIPES)
def test_two_calls_give_one_config_that_can_be_written_down(stage, name):
    run = recipe(stage, name)()
    assert run == recipe(stage, name)()
    assert json.loads(json.dumps(asdict(run)))["loop"]["num_steps"] == run.loop.num_steps
    assert math.isfinite(run.data.fps)


def test_presets_list_every_recipe(capsys):
    assert main(["presets"]) == 0
    shown = capsys.readouterr().out
    stage_1, stage_2 = shown.split("magvit train tokenizer")[1].split("magvit train transformer")
    assert re.findall(r"^    (\S+)  +\S", stage_1, re.MULTILINE) == list(TOKENIZER_RECIPES)
    assert re.findall(r"^    (\S+)  +\S", stage_2, re.MULTILINE) == list(TRANSFORMER_RECIPES)


GUIDE = (Path(__file__).parents[1] / "docs" / "training.md").read_text(encoding="utf-8").replace("\\\n", " ")
GUIDE_COMMANDS = re.findall(
    r"^(?:.* )?magvit ((?:train|shard|doctor|presets|generate) .*)$",
    "\n".join(re.findall(r"^```bash\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)),
    re.MULTILINE,
)


@pytest.mark.parametrize("words", GUIDE_COMMANDS)
def test_commands_of_the_guide_parse(words):
    words = shlex.split(words, comments=True)
    if "--help" in words:
        assert main(words) == 0
    else:
        parse_arguments(words)


@pytest.mark.parametrize("option", sorted(set(re.findall(r"`(--[a-z][^`]*)`", GUIDE))))
def test_options_that_the_guide_names_exist(option):
    stage = "transformer" if option.startswith(("--tokenizer", "--strategy")) else "tokenizer"
    parse_arguments(["train", stage, "folder", *re.sub(r"\bN\b", "2", option).split()])


def test_the_guide_has_a_table_of_all_recipes():
    rows = re.findall(r"^\| `(\S+)` \| (\d+) \| ([\d,]+) \|", GUIDE, re.MULTILINE)
    loops = [(name, recipe(stage, name)().loop) for stage, name in RECIPES]
    assert rows == [(name, str(loop.global_batch_size), f"{loop.num_steps:,}") for name, loop in loops]


# --- shrunk, they train: images -> 2D-VQ -> inflation -> 3D-VQ -> transformer


def train_shrunk(run, output: Path, folder: Path, **changes) -> list[dict[str, float]]:
    """Two steps on the CPU of a recipe whose widths and clips are made tiny; all else, save precision, is kept."""
    clip_shape = (run.data.clip_shape[0], 16, 16)
    changes["data"] = replace(run.data, folder=str(folder), clip_shape=clip_shape)
    steps = {"num_steps": 2, "global_batch_size": 4, "micro_batch_size": 2, "log_every": 1}
    changes["loop"] = replace(run.loop, **steps, num_workers=0, precision="float32")
    options = {"machine": Machine(device="cpu"), "progress": False}
    if isinstance(run, TokenizerRun):
        widths = {"base_channels": 4, "num_res_blocks": 1, "codebook_size": 16, "codebook_dim": 8, "norm_groups": 2}
        run = replace(
            run,
            tokenizer=replace(run.tokenizer, **widths),
            discriminator=replace(run.discriminator, base_channels=2, clip_shape=clip_shape),
            losses=replace(run.losses, perceptual="none"),
            generator_optimizer=replace(run.generator_optimizer, warmup_steps=0),
            discriminator_optimizer=replace(run.discriminator_optimizer, warmup_steps=0),
            **changes,
        )
        train_tokenizer(run, output, **options)
    else:
        size = TransformerSize(hidden_size=16, num_layers=2, num_heads=2, mlp_size=32)
        run = replace(run, size=size, optimizer=replace(run.optimizer, warmup_steps=0), **changes)
        train_transformer(run, output, **options)
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    for line in lines:
        assert all(map(math.isfinite, line.values()))
        assert line["gradient_norm"] > 0
        assert line["lr"] > 0
    return lines


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """`images/` with one damaged picture, and `clips/` in two classes."""
    root = tmp_path_factory.mktemp("data")
    shapes = MovingShapes((20, 20, 24))
    for index in range(8):
        path = root / "images" / f"n{index % 2}" / f"{index}.{('jpg', 'png')[index // 4]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(shapes[index]["video"][:, 10].permute(1, 2, 0).mul(255).byte().numpy()).save(path)
        if index < 4:
            write_video(root / "clips" / f"c{index % 2}" / f"{index}.mp4", shapes[index]["video"])
    damaged = root / "images" / "n0" / "2.jpg"
    damaged.write_bytes(damaged.read_bytes()[:-200])
    return root


@pytest.fixture(scope="module")
def images(data, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("images")
    with pytest.warns(UserWarning, match="left out: .*2.jpg is not a whole picture"):
        lines = train_shrunk(TOKENIZER_RECIPES["2dvq-b-imagenet"](), output, data / "images")
    assert lines[0].keys() >= {"reconstruction_loss", "generator_loss", "r1_penalty", "lecam_loss", "entropy_loss"}
    return output


@pytest.fixture(scope="module")
def tokenizer(data, images, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("3d")
    run = TOKENIZER_RECIPES["3dvq-b-ucf101"]()
    train_shrunk(run, output, data / "clips", init_from=str(images / "model"))
    return output


def test_the_image_model_has_no_classes_and_makes_pictures(images):
    pipe = MagvitPipeline.from_pretrained(images / "model")
    assert (pipe.config.tokenizer.dims, pipe.config.clip_shape, pipe.config.classes) == (2, (1, 16, 16), ())
    assert pipe.reconstruct(torch.rand(1, 3, 1, 16, 16)).shape == (1, 3, 1, 16, 16)
    assert (images / "samples" / "reconstruction_00000002.gif").exists()


def test_the_video_model_is_the_image_model_inflated(images, tokenizer):
    """Two small steps later every kernel is still nearly the image model's in the middle, and nearly 0 elsewhere."""
    image, video = load_tensors(images / "model", "tokenizer"), load_tensors(tokenizer / "model", "tokenizer")
    inflated = 0
    for name, tensor in video.items():
        if tensor.ndim == 5 and tensor.shape[2] == 3:
            before, middle, after = tensor.unbind(2)
            torch.testing.assert_close(middle, image[name], atol=1e-3, rtol=0)
            assert max(before.abs().max(), after.abs().max()) < 1e-3 < middle.abs().max() / 10
            inflated += 1
    assert inflated > 10


@pytest.mark.parametrize("name", ["2dvq-b-ucf101", "3dvq-l-bair", "folder"])
def test_other_kinds_of_tokenizer_train(name, data, images, tmp_path):
    run = TOKENIZER_RECIPES[name]()
    same_size = run.tokenizer.channel_multipliers == (1, 2, 2, 4) and run.init_from
    start = {"init_from": str(images / "model") if same_size else None}
    lines = train_shrunk(run, tmp_path, data / "clips", **start)
    assert ("r1_penalty" in lines[1]) == (run.losses.r1_interval == 1)


@pytest.mark.parametrize(
    "name",
    ["magvit-b-cg-ucf101", "ar-b-fp-bair", "magvit-b-mt-bair", "magvit-b-fp-kinetics600", "magvit-b-mt-ssv2", "folder"],
)
def test_every_kind_of_transformer_trains(name, data, tokenizer, tmp_path):
    run = TRANSFORMER_RECIPES[name]()
    train_shrunk(run, tmp_path, data / "clips", tokenizer=str(tokenizer / "model"))
    pipe = MagvitPipeline.from_pretrained(tmp_path / "model")
    assert pipe.config.classes == (("c0", "c1") if run.data.labels else ())
    assert pipe.config.condition_frames == run.condition_frames
    task = TASKS[run.tasks[-1]]
    clip = torch.rand(1, 3, 16, 16, 16) if task.needs_video else None
    label = 1 if task.class_conditional else None
    steps = {"num_steps": 2} if run.generator == "masked" else {}
    assert pipe(task.name, clip, label, **steps).video.shape == (1, 3, 16, 16, 16)
