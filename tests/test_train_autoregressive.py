"""The autoregressive baseline from a recipe to clips: what it reads, what it minimises, its run, its decoding."""

import math
from dataclasses import asdict, replace

import pytest
import torch

from magvit import MagvitPipeline
from magvit.data.loader import DataConfig
from magvit.decoding import Decoding
from magvit.editing.edit import edit, plan_edit
from magvit.evaluation.protocols import adapted
from magvit.evaluation.published import PROTOCOLS
from magvit.evaluation.subjects import of_pipeline
from magvit.generator_config import AutoregressiveGenerator
from magvit.hub import load_tensors
from magvit.model_config import ModelConfig
from magvit.shapes import Video
from magvit.synthetic import MovingShapes
from magvit.tasks import Condition, Vocabulary, get_task
from magvit.training.cache_tokens import cache_tokens
from magvit.training.engine import Machine
from magvit.training.objectives import NextTokenLosses, Tokenized, draw, next_token_objective
from magvit.training.train_transformer import train_transformer
from magvit.video import read_video, write_video
from tiny_runs import metrics, resumed_is_whole, same, save_tokenizer, transformer_run

GRID, TOKENS = (2, 4, 4), 32
RUN = {"generator": "autoregressive", "mask_mode": "prefix"}
ONE_TASK = {**RUN, "tasks": ("frame_prediction",), "task_tokens": False}
IDS = 16 + 16 + 1 + 1
"""Codes, classes, no class, mask."""


def train(config, output, **options):
    return train_transformer(config, output, machine=Machine("cpu"), progress=False, **options)


def clips(count: int = 1, seed: int = 0) -> Video:
    return torch.rand(count, 3, 4, 16, 16, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return save_tokenizer(tmp_path_factory.mktemp("tokenizer") / "model")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tokenizer):
    """A single-task model of frame prediction, as the official baseline."""
    output = tmp_path_factory.mktemp("run") / "output"
    config = transformer_run(tokenizer, **ONE_TASK, checkpoint_every=2, sample_every=3, ema_decay=0.9)
    train(config, output)
    return config, output


@pytest.fixture(scope="module")
def pipe(trained):
    return MagvitPipeline.from_pretrained(trained[1] / "model")


# --- what it is asked


@pytest.mark.parametrize("task_tokens", [True, False])
def test_the_objective_is_the_mean_over_the_whole_sequence_of_each_clip(tokenizer, task_tokens):
    """Clips of three lengths: each position predicts the next, over all ids, and what fills up counts for nothing."""
    names = ("frame_prediction", "outpainting_central", "class_generation")
    config = transformer_run(tokenizer, **RUN, tasks=names, task_tokens=task_tokens, label_smoothing=0.1)
    vocabulary = Vocabulary(16, 4, num_special=16 if task_tokens else 1)
    tokens = torch.randint(16, (3, *GRID))
    given = torch.zeros(3, *GRID, dtype=torch.bool)
    given[0, 0] = True
    given[1, :, 1:3, 1] = True
    batch = Tokenized(tokens, tokens.flip(1), given)
    draws = [draw(config, [get_task(name)], i, 0, GRID) for i, name in enumerate(names)]
    table = torch.randn(vocabulary.size, vocabulary.size)
    seen = []

    class Bigrams(torch.nn.Module):
        def forward(self, ids):
            seen.append(ids)
            return table[ids]

    losses = next_token_objective(Bigrams(), batch, draws, [3, 3, 3], vocabulary, config)
    (ids,) = seen
    log_p, expected, parts = table.log_softmax(-1), [], []
    for i, sample in enumerate(draws):
        head = [vocabulary.task_token_id(sample.task.family)] if task_tokens else []
        head += [vocabulary.class_token_id(3 if i == 2 else None), *batch.cond_tokens[i][given[i]].tolist()]
        sequence = [vocabulary.mask_token_id, *head, vocabulary.sep_token_id, *tokens[i].flatten().tolist()]
        read, asked = sequence[:-1], sequence[1:]
        assert ids[i, : len(read)].tolist() == read
        each = torch.stack([-0.9 * log_p[a, b] - 0.1 * log_p[a].mean() for a, b in zip(read, asked, strict=True)])
        expected.append(each.mean())
        parts.append(each.split([len(each) - TOKENS, TOKENS]))
    assert losses.total.item() == pytest.approx(torch.stack(expected).mean().item(), rel=1e-5)
    means = NextTokenLosses.means(losses.sums, losses.counts)
    for number, name in enumerate(("prefix_loss", "latent_loss")):
        assert means[name] == pytest.approx(torch.cat([part[number] for part in parts]).mean().item(), rel=1e-5)


# --- the run


def test_a_run_leaves_what_every_run_leaves(trained):
    _, output = trained
    names = {path.name for path in output.iterdir()} - {"tensorboard"}
    assert names == {"config.json", "metrics.jsonl", "report.html", "samples", "checkpoints", "model"}
    assert read_video(output / "samples" / "frame_prediction_00000004.gif").shape == (3, 4, 16, 48)
    lines = metrics(output)
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    for line in lines:
        assert line.keys() == {"step", "gradient_norm", "lr", "total_loss", "prefix_loss", "latent_loss"}
    at_first = math.log(IDS) + 0.5  # logits of variance 1
    assert lines[0]["total_loss"] == pytest.approx(at_first, abs=0.3)


@pytest.mark.parametrize("rematerialize", [0, 1])
def test_a_resumed_run_is_the_run(trained, tokenizer, tmp_path, rematerialize):
    """And layers that are computed again change nothing."""
    config, whole = trained
    if rematerialize:
        config, first = replace(config, loop=replace(config.loop, rematerialize=1)), whole
        whole = tmp_path / "whole"
        train(config, whole)
        assert metrics(whole) == metrics(first)
    resumed_is_whole(train, config, whole, tmp_path / "resumed", "transformer")


def test_a_token_cache_trains_the_same_model(tokenizer, tmp_path):
    for index in range(4):
        write_video(tmp_path / "clips" / f"{index}.mp4", MovingShapes((4, 16, 16))[index]["video"])
    data = DataConfig((4, 16, 16), str(tmp_path / "clips"), labels=False)
    config = transformer_run(tokenizer, **ONE_TASK, num_steps=2, data=data)
    folders = tmp_path / "clip run", tmp_path / "token run"
    train(config, folders[0])
    cache = cache_tokens(config, tmp_path / "tokens", epochs=2, progress=False)
    train(replace(config, token_cache=str(cache)), folders[1])
    assert metrics(folders[0]) == metrics(folders[1])
    assert same(*(load_tensors(folder / "model", "transformer") for folder in folders))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"mask_mode": "commit"},
            "mask_mode is commit, expected prefix of an autoregressive transformer",
        ),
        ({"tasks": ("class_generation",)}, "mask_mode is prefix, expected commit of an autoregressive transformer"),
        ({"losses": ("mask",)}, r"losses is \('mask',\), which is nothing to an autoregressive transformer"),
        ({"block": "modern", "mask_mode": "prefix"}, "block modern"),
        ({"mask_schedule": "exp"}, "mask_schedule is exp, which is nothing to"),
        ({"stratified_ratios": True}, "stratified_ratios is True, which is nothing to"),
        ({"num_segments": 2}, "num_segments is 2, which is nothing to"),
        ({"decoding": Decoding(num_steps=8)}, "num_steps is 8, which is nothing to"),
    ],
)
def test_what_only_masked_transformers_have_is_refused(tokenizer, changes, message):
    with pytest.raises(ValueError, match=message):
        transformer_run(tokenizer, **{**RUN, **changes})


# --- the model


def test_the_folder_says_what_it_is_and_how_it_is_decoded(trained):
    _, output = trained
    generator = ModelConfig.load(output / "model").generator
    assert isinstance(generator, AutoregressiveGenerator)
    assert (generator.mask_mode, generator.tasks) == ("prefix", ("frame_prediction",))
    assert (generator.transformer.vocab_size, generator.transformer.max_length) == (IDS, 1 + 16 + 1 + TOKENS)
    card = (output / "model" / "README.md").read_text()
    assert "tags: [magvit, video, autoregressive, frame_prediction]" in card
    assert "does frame_prediction, one token after the other; 16 classes" in card
    one_by_one = Decoding(TOKENS, mask_schedule="uniform", mask_temperature=0.0, order="raster")
    assert generator.decoding == one_by_one


def test_the_likeliest_tokens_are_those_of_teacher_forcing(pipe):
    """`[start, class, tokens of the first latent frame, SEP, latents]`, in the numbers of the official code."""
    clip = clips()
    made = pipe("frame_prediction", clip, temperature=0.0)
    given = pipe.tokenizer.encode(get_task("FP").condition(clip, GRID, 1).cond_video)[0, 0].flatten()
    start, no_class, separator = IDS - 1, 16 + 16, IDS - 2
    sequence = torch.tensor([[start, no_class, *given.tolist(), separator]])
    for _ in range(TOKENS):
        best = pipe.transformer(sequence)[:, -1, :16].argmax(-1, keepdim=True)
        sequence = torch.cat([sequence, best], 1)
    assert torch.equal(made.tokens.flatten(1), sequence[:, -TOKENS:])
    assert made.metadata[0]["decoding"]["num_steps"] == TOKENS


def test_a_seed_gives_the_same_clip_whatever_the_batch(pipe):
    several = pipe("frame_prediction", clips(3), seed=[4, 5, 6], num_samples=2, top_p=0.9)
    alone = pipe("frame_prediction", clips(3)[1], seed=5, first_sample=1, top_p=0.9)
    assert torch.equal(several.tokens[3:4], alone.tokens)
    small = pipe("frame_prediction", clips(3), seed=[4, 5, 6], num_samples=2, top_p=0.9, batch_size=1)
    assert torch.equal(small.tokens, several.tokens)
    assert len(several.tokens.flatten(1).unique(dim=0)) == 6


def test_conditions_of_several_lengths_are_drawn_as_each_alone(tokenizer, tmp_path):
    """A multi-task model, and any mask."""
    config = transformer_run(tokenizer, **RUN, num_steps=1, tasks=("free", "class_generation"))
    pipe = MagvitPipeline.from_pretrained(train(config, tmp_path))
    masks = torch.zeros(3, *GRID, dtype=torch.bool)
    masks[0, 0] = masks[1, 0, 0] = masks[2, 1] = True
    shown = masks.repeat_interleave(2, 1).repeat_interleave(4, 2).repeat_interleave(4, 3)[:, None]
    condition = Condition(clips(3), shown, masks)
    together = pipe("free", condition=condition, seed=[1, 2, 3]).tokens
    for i in range(3):
        one = Condition(*(part[i : i + 1] for part in (condition.cond_video, shown, masks)))
        assert torch.equal(pipe("free", condition=one, seed=i + 1).tokens, together[i : i + 1])
    assert pipe("class_generation", label=3).tokens.shape == (1, *GRID)


@pytest.mark.parametrize(
    "option", [{"num_steps": 8}, {"mask_temperature": 4.5}, {"guidance_scale": 1.0}, {"order": "halton"}]
)
def test_options_that_make_no_sense_are_refused_in_one_sentence(pipe, option):
    ((name, value),) = option.items()
    with pytest.raises(ValueError, match=f"{name} is {value}, expected .*: an autoregressive model draws one") as told:
        pipe("frame_prediction", clips(), **{name: value})
    assert "\n" not in str(told.value)


def test_a_published_protocol_is_followed_one_token_after_the_other(pipe):
    """Its mask schedule is of masked transformers; what was asked for beside it is not forgotten."""
    protocol = replace(PROTOCOLS["magvit-bair"], clip_shape=(4, 16, 16))
    used = of_pipeline(pipe, adapted(protocol, {"top_k": 7})[0], []).made_of["decoding"]["frame_prediction"]
    assert used == asdict(pipe.decoding("frame_prediction", top_k=7))
    with pytest.raises(ValueError, match="num_steps is 8, expected 32"):
        of_pipeline(pipe, adapted(protocol, {"num_steps": 8})[0], [])


def test_a_users_clip_is_gone_on_with_window_by_window_and_no_two_at_once(pipe, tmp_path):
    write_video(tmp_path / "clip.mp4", MovingShapes((9, 16, 16))[0]["video"])
    made = edit(pipe, "frame_prediction", tmp_path / "clip.mp4", tmp_path / "made.gif")
    assert (made.num_frames, made.height, made.width) == (9, 16, 16)
    write_video(tmp_path / "wide.mp4", MovingShapes((9, 16, 48))[0]["video"])
    expected = "9 frames of 16x48 take several windows .*, which an autoregressive model cannot do: .* clips of 4x16x16"
    with pytest.raises(ValueError, match=expected):
        plan_edit(pipe.config, "frame_prediction", tmp_path / "wide.mp4")
