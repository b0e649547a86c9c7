import json
import math
from collections import Counter
from dataclasses import replace

import pytest
import torch

from magvit import MagvitPipeline
from magvit.data.loader import DataConfig, TrainingClips
from magvit.decoding import Decoding
from magvit.generator_config import TaskDecoding
from magvit.hub import load_tensors
from magvit.tasks import TASKS, CommitLosses, get_task
from magvit.training.checkpoint import load_newest_checkpoint
from magvit.training.design import design
from magvit.training.engine import Machine
from magvit.training.objectives import commit_objective, draw, tokenize
from magvit.training.optim import OptimizerConfig
from magvit.training.train_transformer import train_transformer
from magvit.transformer import MaskedTransformer
from magvit.video import read_video
from tiny_runs import metrics, resumed_is_whole, same, save_tokenizer, transformer_run

GRID = (2, 4, 4)


def train(config, output, **options):
    return train_transformer(config, output, machine=Machine("cpu"), progress=False, **options)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return save_tokenizer(tmp_path_factory.mktemp("tokenizer") / "model")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tokenizer):
    output = tmp_path_factory.mktemp("run") / "output"
    config = transformer_run(tokenizer, checkpoint_every=2, sample_every=3, ema_decay=0.9)
    assert train(config, output) == output / "model"
    return config, output


# --- what chance decides


def test_a_draw_is_a_function_of_seed_and_position(tokenizer):
    config = transformer_run(tokenizer)
    tasks = [get_task(name) for name in config.tasks]
    first = [draw(config, tasks, position, 0, GRID) for position in range(5)]
    torch.manual_seed(1)
    for position in (3, 0):
        again = draw(config, tasks, position, 7, GRID)
        assert again.task is first[position].task
        assert torch.equal(again.mask_ratio, first[position].mask_ratio)
        assert torch.equal(again.mask_score, first[position].mask_score)
    assert len({sample.mask_ratio.item() for sample in first}) == 5
    other = draw(replace(config, loop=replace(config.loop, seed=1)), tasks, 0, 0, GRID)
    assert not torch.equal(other.mask_score, first[0].mask_score)


def test_one_ratio_a_step_where_the_official_way_is_asked_for(tokenizer):
    config = transformer_run(tokenizer, ratio_per_batch=True)
    tasks = [get_task(name) for name in config.tasks]
    ratios = [[draw(config, tasks, 4 * step + i, step, GRID).mask_ratio.item() for i in range(4)] for step in range(3)]
    assert all(len(set(of_step)) == 1 for of_step in ratios)
    assert len({of_step[0] for of_step in ratios}) == 3
    scores = [draw(config, tasks, i, 0, GRID).mask_score for i in range(2)]
    assert not torch.equal(*scores)


def test_tasks_come_by_their_weights_and_ratios_by_the_schedule(tokenizer):
    config = transformer_run(tokenizer)
    tasks = [get_task(name) for name in config.tasks]
    draws = [draw(config, tasks, position, 0, GRID) for position in range(800)]
    counts = Counter(sample.task.name for sample in draws)
    assert counts.keys() == set(config.tasks)
    assert all(150 < count < 250 for count in counts.values())
    mean = torch.stack([sample.mask_ratio for sample in draws]).mean().item()
    assert mean == pytest.approx(2 / math.pi, abs=0.03)  # of cos(pi u / 2)
    weighted = replace(config, task_weights=(0.0, 3.0, 1.0, 0.0))
    counts = Counter(draw(weighted, tasks, position, 0, GRID).task.name for position in range(400))
    assert counts.keys() == {"outpainting_central", "class_generation"}
    assert 260 < counts["outpainting_central"] < 340


# --- what the transformer is asked


def batch(tokenizer, tasks, **changes):
    """Tokens of the given tasks on the first shapes, and what they were made of."""
    config = transformer_run(tokenizer, **changes)
    pipe = MagvitPipeline.from_pretrained(tokenizer)
    vocabulary = design(config, pipe.config, classes=tuple("abcdefghijklmnop")).generator.vocabulary
    clips = TrainingClips(config.data, 0)
    video = torch.stack([clips[0, i]["video"] for i in range(len(tasks))])
    chosen = [get_task(name) for name in tasks]
    tokenized = tokenize(pipe.tokenizer, video, chosen, config.condition_frames)
    return tokenized, pipe, vocabulary, video, chosen


def test_examples_are_the_tokens_of_the_clip_and_of_what_its_task_shows(tokenizer):
    examples, pipe, _, video, tasks = batch(tokenizer, ["CG", "FP", "OPC", "CFP"])
    assert torch.equal(examples.tokens, pipe.tokenizer.encode(video))
    for i, task in enumerate(tasks):
        condition = task.condition(video[i : i + 1], GRID, 1)
        assert torch.equal(examples.cond_token_mask[i], condition.cond_token_mask[0])
        if task.needs_video:
            assert torch.equal(examples.cond_tokens[i], pipe.tokenizer.encode(condition.cond_video)[0])
        else:
            assert not examples.cond_token_mask[i].any()


@pytest.mark.parametrize("name", TASKS)
def test_every_task_can_be_asked_alone(tokenizer, name):
    """Generation from nothing alone too, where no clip of the batch has a condition."""
    examples, *_ = batch(tokenizer, [name, name])
    assert examples.tokens.shape == examples.cond_tokens.shape == (2, *GRID)
    assert examples.cond_token_mask.any() == TASKS[name].needs_video


def test_the_objective_of_a_network_that_knows_nothing_is_the_logarithm_of_the_codebook(tokenizer):
    examples, pipe, vocabulary, _, tasks = batch(tokenizer, ["CG", "FP", "OPC", "CFP", "CFP", "CFP"])
    config = transformer_run(tokenizer, label_smoothing=0.0)
    draws = [draw(config, [task], i, 0, GRID) for i, task in enumerate(tasks)]
    draws[5] = draws[5]._replace(drops_label=True)
    transformer = MaskedTransformer(design(config, pipe.config, tuple("abcdefghijklmnop")).generator.transformer).eval()
    seen = []

    class Watched(torch.nn.Module):
        def forward(self, ids, segments, visible):
            seen.append(ids)
            return transformer(ids, segments, visible)

    with torch.no_grad():
        transformer.token_embedding.weight.zero_()  # the output layer too, as it is tied
        transformer.head_bias[vocabulary.mask_token_id] = 100.0  # ids that are no codes are no answers
        losses = commit_objective(Watched(), examples, draws, [3, 4, 5, 6, -1, 7], vocabulary, config)
    parts = CommitLosses.means(losses.sums, losses.counts)
    assert parts.keys() == {"refine_loss", "mask_loss", "reconstruct_loss"}
    for loss in (losses.total.item(), *parts.values()):
        assert loss == pytest.approx(math.log(16), abs=1e-4)
    (ids,) = seen
    assert ids[:, 0].tolist() == [vocabulary.task_token_id(task.family) for task in tasks]
    classes = [3, None, None, 6, None, None]
    assert ids[:, 1].tolist() == [vocabulary.class_token_id(label) for label in classes]
    masked = (ids[:, 2:] == vocabulary.mask_token_id).view(6, *GRID)
    assert not (masked & examples.cond_token_mask).any()
    share = masked[0].float().mean()
    assert share == pytest.approx(draws[0].mask_ratio.item(), abs=1 / 32)


# --- the run


def test_a_run_leaves_config_metrics_samples_checkpoints_and_model(trained):
    _, output = trained
    names = {path.name for path in output.iterdir()} - {"tensorboard"}
    assert names == {"config.json", "metrics.jsonl", "report.html", "samples", "checkpoints", "model"}
    assert json.loads((output / "config.json").read_text())["mask_mode"] == "commit"
    samples = sorted((output / "samples").iterdir())
    assert [path.name for path in samples] == ["outpainting_central_00000003.gif", "outpainting_central_00000004.gif"]
    assert read_video(samples[0]).shape == (3, 4, 16, 48)  # truth, condition and result side by side
    lines = metrics(output)
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    losses = {"total_loss", "refine_loss", "mask_loss", "reconstruct_loss"}
    for line in lines:
        assert line.keys() == {"step", "gradient_norm", "lr", *losses}
        assert all(0 <= value < 100 for value in line.values())
    assert lines[0]["total_loss"] == pytest.approx(math.log(16), abs=0.5)


def test_the_model_does_its_tasks(trained, tokenizer):
    config, output = trained
    pipe = MagvitPipeline.from_pretrained(output / "model")
    assert same(pipe.tokenizer.state_dict(), load_tensors(tokenizer, "tokenizer"))
    assert len(pipe.config.classes) == 16
    clip = torch.rand(1, 3, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    for name in config.tasks:
        task = TASKS[name]
        made = pipe(name, clip if task.needs_video else None, "cross up" if task.class_conditional else None)
        assert made.video.shape == clip.shape
    state = load_newest_checkpoint(output / "checkpoints")
    averaged = {name.removeprefix("module."): tensor for name, tensor in state["average"].items()}
    averaged.pop("n_averaged")
    assert same(pipe.transformer.state_dict(), averaged)


@pytest.mark.parametrize("average", [True, False])
def test_a_resumed_run_is_the_run(trained, tokenizer, tmp_path, average):
    """Bit-equal losses, weights and optimizer, with dropout on, although samples were made between the steps."""
    if average:
        config, whole = trained
    else:
        config, whole = transformer_run(tokenizer, checkpoint_every=2, micro_batch_size=2), tmp_path / "whole"
        train(config, whole)
    resumed_is_whole(train, config, whole, tmp_path / "resumed", "transformer")


def test_samples_do_not_disturb_the_run(trained, tokenizer, tmp_path):
    config, whole = trained
    loop = replace(config.loop, sample_every=1, checkpoint_every=1)
    train(replace(config, loop=loop), tmp_path)
    assert metrics(tmp_path) == metrics(whole)


def test_small_pieces_add_up_to_the_batch(tokenizer, tmp_path):
    for size in (None, 2, 1):
        config = transformer_run(tokenizer, num_steps=2, micro_batch_size=size, dropout=0.0)
        train(config, tmp_path / str(size))
    lines = [metrics(tmp_path / str(size)) for size in (None, 2, 1)]
    weights = [load_tensors(tmp_path / str(size) / "model", "transformer") for size in (None, 2, 1)]
    for other, of_other in zip(lines[1:], weights[1:], strict=True):
        for a, b in zip(lines[0], other, strict=True):
            assert a["total_loss"] == pytest.approx(b["total_loss"], rel=1e-5)
            assert a["gradient_norm"] == pytest.approx(b["gradient_norm"], rel=1e-4)
        for name, tensor in weights[0].items():
            assert (of_other[name] - tensor).abs().mean() < 2e-5, name


def test_gradients_are_clipped_after_their_norm_is_logged(tokenizer, tmp_path):
    """With Adam a constant factor would cancel; what shows is its first moment."""
    for norm in (1e-3, None):
        optimizer = OptimizerConfig(1e-3, betas=(0.9, 0.96), clip_norm=norm)
        train(transformer_run(tokenizer, num_steps=1, optimizer=optimizer), tmp_path / str(norm))
    (clipped,), (free,) = (metrics(tmp_path / str(norm)) for norm in (1e-3, None))
    assert clipped == free
    assert free["gradient_norm"] > 0.01
    states = [
        load_newest_checkpoint(tmp_path / str(norm) / "checkpoints")["transformer"]["optimizer"]
        for norm in (1e-3, None)
    ]
    moments = [torch.cat([s["exp_avg"].flatten() for s in state["state"].values()]).norm().item() for state in states]
    assert moments == [pytest.approx(0.1 * 1e-3, rel=1e-3), pytest.approx(0.1 * free["gradient_norm"], rel=1e-3)]


def test_classes_are_dropped_at_the_rate_of_the_recipe_and_nothing_else_changes(tokenizer):
    tasks = [get_task("CG")]
    plain, dropping = (transformer_run(tokenizer, label_dropout=rate) for rate in (0.0, 0.25))
    draws = [[draw(config, tasks, position, 0, GRID) for position in range(800)] for config in (plain, dropping)]
    assert not any(one.drops_label for one in draws[0])
    assert 0.2 < sum(one.drops_label for one in draws[1]) / 800 < 0.3
    assert all(torch.equal(a.mask_score, b.mask_score) for a, b in zip(*draws, strict=True))


def test_a_model_says_what_it_has_learnt(tokenizer):
    of_tokenizer = MagvitPipeline.from_pretrained(tokenizer).config
    for tasks, rate, classes, expected in (
        (("CG", "CFP"), 0.0, ("a", "b"), False),
        (("CG", "CFP"), 0.1, ("a", "b"), True),
        (("CG", "FP"), 0.0, ("a", "b"), False),  # it saw no generation from nothing without a class
        (("CG", "UG"), 0.0, ("a", "b"), True),
        (("CFP", "FP"), 0.0, ("a", "b"), True),
        (("CG", "CFP", "FP"), 0.0, (), True),
    ):
        special = (TaskDecoding("frame_prediction", Decoding(num_steps=100)),)
        config = transformer_run(
            tokenizer, tasks=tasks, label_dropout=rate, decoding=Decoding(num_steps=3), task_decoding=special
        )
        generator = design(config, of_tokenizer, classes).generator
        learnt = tasks if classes else ("UG", "FP")  # what tasks of a class are without one
        assert generator.tasks == tuple(get_task(name).name for name in learnt)
        assert generator.unconditional == expected
        assert generator.decoding == Decoding(num_steps=3)
        assert generator.task_decoding[0].decoding.num_steps == math.prod(GRID)
        rest = design(replace(config, task_weights=(1.0,) + (0.0,) * (len(tasks) - 1)), of_tokenizer, classes)
        assert rest.generator.tasks == generator.tasks[:1]


@pytest.mark.parametrize(
    "changes",
    [
        {"mask_mode": "prefix"},
        {"losses": ("mask", "reconstruct")},
        {"mask_mode": "latent_input", "losses": ("mask",)},
        {"mask_mode": "latent_condition"},
        {"num_segments": 2, "label_dropout": 0.5},
        {"task_tokens": False, "tasks": ("class_generation",), "ratio_per_batch": True},
        {"precision": "bfloat16", "separate_inpainting_token": False, "tasks": ("inpainting_central",)},
    ],
)
def test_every_way_of_training_makes_a_model_that_works(tokenizer, tmp_path, changes):
    config = transformer_run(tokenizer, num_steps=2, **changes)
    pipe = MagvitPipeline.from_pretrained(train(config, tmp_path))
    assert all(math.isfinite(line["total_loss"]) for line in metrics(tmp_path))
    task = TASKS[config.tasks[0]]
    clip = torch.rand(1, 3, 4, 16, 16) if task.needs_video else None
    assert pipe(task.name, clip, 0 if task.class_conditional else None).tokens.shape == (1, *GRID)


@pytest.mark.parametrize(("of_tokenizer", "in_bfloat16"), [("float32", False), (None, True)])
def test_tokens_are_of_the_tokenizers_precision(tokenizer, tmp_path, monkeypatch, of_tokenizer, in_bfloat16):
    """The networks of the step may work in bfloat16, which flips tokens."""
    seen = []

    def spy(*arguments):
        seen.append(torch.is_autocast_enabled("cpu"))
        return tokenize(*arguments)

    monkeypatch.setattr("magvit.training.train_transformer.tokenize", spy)
    train(transformer_run(tokenizer, num_steps=1, precision="bfloat16", tokenizer_precision=of_tokenizer), tmp_path)
    assert set(seen) == {in_bfloat16}


def test_regions_are_drawn_where_clips_are_loaded(tokenizer, tmp_path, monkeypatch):
    """They are those that the task would draw of the same clips, for which a step on a GPU would have to wait."""
    seen = []

    def spy(tokenizer, video, tasks, frames, known):
        found, usual = tokenize(tokenizer, video, tasks, frames, known), tokenize(tokenizer, video, tasks, frames)
        assert all(torch.equal(a, b) for a, b in zip(found, usual, strict=True))
        assert [bool(given.any()) for given in known] == [task.name == "free" for task in tasks]
        seen.extend(task.name for task in tasks)
        return found

    monkeypatch.setattr("magvit.training.train_transformer.tokenize", spy)
    config = transformer_run(tokenizer, tasks=("free", "frame_prediction"), micro_batch_size=2)
    train(config, tmp_path)
    assert {*seen} == {"free", "frame_prediction"}


def test_a_clip_of_few_tokens_can_be_trained_on(tokenizer, tmp_path):
    """Past bug: the sample at the end of the run wanted twelve decoding steps of a clip of eight tokens."""
    data = DataConfig(clip_shape=(4, 8, 8), synthetic_share=1.0)
    train(transformer_run(tokenizer, num_steps=1, data=data), tmp_path)
    assert [path.suffix for path in (tmp_path / "samples").iterdir()] == [".gif"]


def test_the_checkpoint_does_not_hold_the_tokenizer(trained):
    """It is frozen, and stands in the model folder."""
    _, output = trained
    assert load_newest_checkpoint(output / "checkpoints").keys() == {"step", "transformer", "average"}


@pytest.mark.parametrize("changes", [{"mask_mode": "prefix"}, {"tasks": ("unconditional",)}])
def test_a_loss_of_nothing_is_refused(changes):
    with pytest.raises(ValueError, match="losses are refine alone, expected others too"):
        transformer_run("x", losses=("refine",), **changes)
    transformer_run("x", losses=("refine",))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"tokenizer": "nowhere"}, FileNotFoundError, 'no model "nowhere"'),
        ({"data": DataConfig(clip_shape=(4, 16, 16))}, ValueError, "no data: give a folder"),
        ({"data": DataConfig(clip_shape=(4, 16, 18), synthetic_share=1.0)}, ValueError, "clip of 4x16x18"),
        ({"condition_frames": 4}, ValueError, "condition_frames is 4, expected 1 to 3"),
    ],
)
def test_parts_that_do_not_fit_are_refused_before_anything_is_written(tokenizer, tmp_path, changes, error, message):
    config = replace(transformer_run(tokenizer), **changes)
    with pytest.raises(error, match=message) as told:
        train(config, tmp_path / "output")
    assert "\n" not in str(told.value)
    assert not (tmp_path / "output").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": ()}, "tasks is empty"),
        ({"tasks": ("juggling",)}, "unknown task 'juggling'"),
        ({"task_weights": (1.0,)}, r"task_weights are \(1.0,\), expected one of 0 or more for each"),
        ({"task_weights": (1.0, 1.0, 1.0, -1.0)}, "task_weights are .* expected one of 0 or more"),
        ({"task_weights": (0.0, 0.0, 0.0, 0.0)}, "task_weights are .* expected"),
        ({"ema_decay": 1.0}, "ema_decay is 1.0"),
        ({"num_segments": 1}, "num_segments is 1, expected 0 or 2"),
        ({"mask_schedule": "sine"}, "sine"),
        ({"losses": ()}, "losses are"),
        ({"mask_mode": "prefix", "task_tokens": False}, "prefix"),
    ],
)
def test_settings_that_make_no_run_are_refused(tokenizer, changes, message):
    with pytest.raises(ValueError, match=message):
        transformer_run(tokenizer, **changes)


def test_modern_layers_are_trained_and_stored(tokenizer, tmp_path):
    output = train(transformer_run(tokenizer, block="modern", knows_codebook=True), tmp_path / "run")
    pipe = MagvitPipeline.from_pretrained(str(output))
    assert pipe.transformer is not None
    assert (pipe.transformer.config.block, pipe.transformer.config.grid) == ("modern", (2, 4, 4))
    assert torch.equal(pipe.transformer.codebook, pipe.tokenizer.quantizer.codebook)
    with pytest.raises(ValueError, match="knows_codebook is set, expected not with block bert"):
        transformer_run(tokenizer, knows_codebook=True)
    assert pipe("class_generation", label=0, num_steps=2, seed=0).video.shape == (1, 3, 4, 16, 16)
    with pytest.raises(ValueError, match="mask_mode is prefix, expected another with block modern"):
        transformer_run(tokenizer, block="modern", mask_mode="prefix")


def test_stratified_ratios_are_an_even_spread_in_every_step(tokenizer):
    run = transformer_run(tokenizer, stratified_ratios=True, global_batch_size=8)
    tasks, offsets = [get_task("FP")], []
    for step in range(3):
        draws = [draw(run, tasks, step * 8 + i, step, (4, 8, 8)) for i in range(8)]
        progress = torch.acos(torch.stack([sample.mask_ratio for sample in draws])) / (math.pi / 2)
        gaps = progress.sort().values.diff()
        assert gaps.sub(1 / 8).abs().max() < 0.02
        offsets.append(progress.min().item())
        plain = draw(replace(run, stratified_ratios=False), tasks, step * 8, step, (4, 8, 8))
        assert torch.equal(plain.mask_score, draws[0].mask_score)
    assert len(set(offsets)) == 3
    with pytest.raises(ValueError, match="ratio_per_batch is set, expected not with stratified_ratios"):
        replace(run, ratio_per_batch=True)
