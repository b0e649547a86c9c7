import json
import shutil
from dataclasses import replace

import pytest
import torch

from magvit import MagvitPipeline
from magvit.data.loader import DataConfig, TrainingClips
from magvit.hub import load_tensors
from magvit.locks import locked
from magvit.seeds import generator_for
from magvit.tokenizer import VideoTokenizer, inflate
from magvit.training import codebook as module_of_codebook
from magvit.training import train_tokenizer as module
from magvit.training.checkpoint import load_newest_checkpoint
from magvit.training.codebook import codebook_from_latents
from magvit.training.config import TokenizerLossConfig
from magvit.training.engine import Machine
from magvit.training.log import RunLog
from magvit.training.optim import OptimizerConfig
from magvit.training.train_tokenizer import shown_as_conditions, start_from, train_tokenizer
from magvit.video import read_video, write_video
from tiny_runs import TOKENIZER, metrics, resumed_is_whole, same, tokenizer_run


def train(config, output, **options):
    return train_tokenizer(config, output, machine=Machine("cpu"), progress=False, **options)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A whole run of four steps with everything on, its config and its folder."""
    output = tmp_path_factory.mktemp("run") / "output"
    config = tokenizer_run(adversarial=True, checkpoint_every=2, sample_every=3)
    assert train(config, output) == output / "model"
    return config, output


def test_a_run_leaves_config_metrics_samples_checkpoints_and_model(trained):
    _, output = trained
    names = {path.name for path in output.iterdir()} - {"tensorboard"}
    assert names == {"config.json", "metrics.jsonl", "report.html", "samples", "checkpoints", "model"}
    assert json.loads((output / "config.json").read_text())["loop"]["num_steps"] == 4
    samples = sorted((output / "samples").iterdir())
    assert [path.name for path in samples] == ["reconstruction_00000003.gif", "reconstruction_00000004.gif"]
    assert read_video(samples[0]).shape == (3, 4, 16, 32)  # truth and reconstruction side by side
    checkpoints = [path.name for path in sorted((output / "checkpoints").iterdir())]
    assert checkpoints == ["step_00000002.pt", "step_00000004.pt"]


def test_every_loss_is_logged_by_its_name_at_every_step(trained):
    config, output = trained
    lines = metrics(output)
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    losses = {"total_loss", "reconstruction_loss", "commitment_loss", "codebook_loss", "entropy_loss", "generator_loss"}
    game = {"discriminator_loss", "r1_penalty", "lecam_loss", "real_logits", "fake_logits"}
    for line in lines:
        assert line.keys() == {
            "step",
            *losses,
            *game,
            "codebook_usage",
            "perplexity",
            "video_std",
            "reconstruction_std",
            "gradient_norm",
            "lr",
        }
        assert all(abs(value) < 1000 for value in line.values())  # NaN fails too
        weights = config.losses
        total = (
            line["reconstruction_loss"]
            + weights.commitment_weight * line["commitment_loss"]
            + weights.codebook_weight * line["codebook_loss"]
            + weights.entropy_weight * line["entropy_loss"]
            + weights.adversarial_weight * line["generator_loss"]
        )
        assert line["total_loss"] == pytest.approx(total, rel=1e-5)
    assert lines[0]["lr"] == 1e-3
    assert lines[2]["lr"] == pytest.approx(5e-4)
    assert lines[0]["lecam_loss"] == pytest.approx(  # its averages start at 0
        max(0, lines[0]["real_logits"]) ** 2 + max(0, -lines[0]["fake_logits"]) ** 2, rel=1e-5
    )


def test_the_model_is_the_average_and_the_pipeline_loads_it(trained):
    config, output = trained
    pipe = MagvitPipeline.from_pretrained(output / "model")
    assert pipe.config.tokenizer == config.tokenizer
    assert pipe.config.clip_shape == (4, 16, 16)
    assert len(pipe.config.classes) == 16
    assert pipe.transformer is None
    state = load_newest_checkpoint(output / "checkpoints")
    averaged = {name.removeprefix("module."): tensor for name, tensor in state["average"].items()}
    averaged.pop("n_averaged")
    assert same(pipe.tokenizer.state_dict(), averaged)
    weights = state["generator"]["module"]["encoder.conv_in.weight"]
    assert not torch.equal(weights, averaged["encoder.conv_in.weight"])
    clip = torch.rand(1, 3, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    assert pipe.reconstruct(clip).shape == clip.shape


def test_the_average_follows_the_weights_by_its_decay(tmp_path):
    config = tokenizer_run(num_steps=1)
    train(config, tmp_path)
    state = load_newest_checkpoint(tmp_path / "checkpoints")
    torch.manual_seed(0)
    initial = VideoTokenizer(config.tokenizer).state_dict()
    for name, after in state["generator"]["module"].items():
        torch.testing.assert_close(state["average"][f"module.{name}"], 0.9 * initial[name] + 0.1 * after, msg=name)


def test_both_networks_learn(trained):
    config, output = trained
    torch.manual_seed(0)
    tokenizer = VideoTokenizer(config.tokenizer).state_dict()
    state = load_newest_checkpoint(output / "checkpoints")
    assert all(not torch.equal(after, tokenizer[name]) for name, after in state["generator"]["module"].items())
    assert state["adversary"]["module"]["lecam.real_average"] != 0
    assert {s["step"].item() for s in state["adversary"]["optimizer"]["state"].values()} == {4}


@pytest.mark.parametrize("adversarial", [False, True])
def test_a_resumed_run_is_the_run(trained, tmp_path, adversarial):
    """Bit-equal losses, weights, optimizer and averages, from the middle of the learning-rate schedule on."""
    if adversarial:
        config, whole = trained
    else:
        config, whole = tokenizer_run(checkpoint_every=2), tmp_path / "whole"
        train(config, whole)
    resumed_is_whole(train, config, whole, tmp_path / "resumed", "tokenizer")


def test_a_run_that_is_interrupted_resumes_from_its_last_checkpoint(trained, tmp_path, monkeypatch):
    config, whole = trained
    written = RunLog.scalars

    def power_cut(log, step, values):
        if step == 4:
            raise KeyboardInterrupt
        written(log, step, values)

    monkeypatch.setattr(RunLog, "scalars", power_cut)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path)
    monkeypatch.undo()
    assert len(metrics(tmp_path)) == 3
    train(config, tmp_path, resume=True)
    assert metrics(tmp_path) == metrics(whole)


def test_resuming_a_finished_run_changes_nothing_and_a_new_run_starts_at_the_beginning(trained, tmp_path):
    config, whole = trained
    again = tmp_path / "again"
    shutil.copytree(whole, again)
    assert train(config, again, resume=True) == again / "model"
    assert metrics(again) == metrics(whole)
    fresh = tmp_path / "fresh"
    train(config, fresh, resume=True)  # nothing to resume from
    assert metrics(fresh) == metrics(whole)


def test_a_folder_in_which_a_run_trains_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("magvit.training.train_tokenizer.TrainingClips", None)  # before data and networks
    with locked(tmp_path / "run"), pytest.raises(OSError, match=r"run is being written by process \d+ on .+"):
        train_tokenizer(tokenizer_run(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_used_folder_is_not_started_over_and_other_sizes_are_not_resumed(trained):
    config, output = trained
    before = metrics(output)
    with pytest.raises(ValueError, match="checkpoints holds the checkpoints of a run: go on with --resume"):
        train(config, output)
    with pytest.raises(ValueError, match="holds checkpoints of another configuration"):
        train(replace(config, tokenizer=replace(TOKENIZER, codebook_size=8)), output, resume=True)
    assert metrics(output) == before


@pytest.mark.parametrize("adversarial", [False, True])
def test_small_pieces_add_up_to_the_batch(tmp_path, adversarial):
    """With the terms that look at the batch as a whole: entropy, and LeCam's averages."""
    losses = TokenizerLossConfig(perceptual="none", adversarial_weight=0.1 * adversarial, lecam_weight=0.5)
    optimizer = OptimizerConfig(1e-3, betas=(0.9, 0.99))
    states, lines = [], []
    for size in (None, 2, 1):
        config = tokenizer_run(
            num_steps=1,
            micro_batch_size=size,
            losses=losses,
            generator_optimizer=optimizer,
            discriminator_optimizer=optimizer,
        )
        train(config, tmp_path / str(size))
        states.append(load_newest_checkpoint(tmp_path / str(size) / "checkpoints"))
        lines += metrics(tmp_path / str(size))

    def gradients(state, part):  # Adam's first moment after one update, and not the weights: Adam hides a factor
        return torch.cat([moments["exp_avg"].flatten() for moments in state[part]["optimizer"]["state"].values()]) / 0.1

    for other, line in zip(states[1:], lines[1:], strict=True):
        for part in ("generator", "adversary") if adversarial else ("generator",):
            whole = gradients(states[0], part)
            assert (gradients(other, part) - whole).norm() < 1e-4 * whole.norm()
        assert line == pytest.approx(lines[0], rel=1e-4, abs=1e-6)


def test_bfloat16_and_channels_last_begin_like_float32(tmp_path):
    """With the discriminator on. Past bug: in bfloat16 the engine forbade R1's gradient and the first step failed."""
    precise = tokenizer_run(adversarial=True)
    train(precise, tmp_path / "precise")
    train(tokenizer_run(adversarial=True, precision="bfloat16", channels_last=True), tmp_path / "low")
    lines, expected = metrics(tmp_path / "low"), metrics(tmp_path / "precise")
    for name in ("reconstruction_loss", "commitment_loss", "generator_loss", "discriminator_loss", "r1_penalty"):
        assert lines[0][name] == pytest.approx(expected[0][name], rel=0.03), name
    assert lines[-1]["reconstruction_loss"] < lines[0]["reconstruction_loss"]
    state = load_newest_checkpoint(tmp_path / "low" / "checkpoints")
    assert {tensor.dtype for tensor in state["generator"]["module"].values()} == {torch.float32}


def test_a_perceptual_weight_wants_a_network(tmp_path, monkeypatch):
    config = tokenizer_run(losses=TokenizerLossConfig(perceptual_weight=0.5, adversarial_weight=0.0), num_steps=1)

    def without(name, weights):
        raise OSError(f"no weights of {name}")

    monkeypatch.setattr(module.perceptual, "load", without)
    with pytest.raises(OSError, match="no weights of resnet50"):
        train(config, tmp_path / "without")
    assert not (tmp_path / "without").exists()

    class Edges(torch.nn.Module):
        def forward(self, real, fake):
            return (real.diff(dim=-1) - fake.diff(dim=-1)).square().mean()

    monkeypatch.setattr(module.perceptual, "load", lambda name, weights: Edges())
    train(config, tmp_path / "with")
    (line,) = metrics(tmp_path / "with")
    assert line["perceptual_loss"] > 0


# --- where a run starts from


def test_a_run_starts_from_a_model_of_the_same_size(trained):
    _, output = trained
    torch.manual_seed(7)
    tokenizer = VideoTokenizer(TOKENIZER)
    start_from(tokenizer, str(output / "model"), tokenizer_run())
    assert same(tokenizer.state_dict(), load_tensors(output / "model", "tokenizer"))


@pytest.mark.parametrize("inflated", [True, False])
def test_the_discriminator_starts_from_its_sibling_in_the_same_run_folder(tmp_path, inflated):
    warm = OptimizerConfig(1e-3, warmup_steps=2)  # the first update has rate 0
    before = tokenizer_run(adversarial=True, num_steps=1, generator_optimizer=warm)
    if inflated:
        flat = {"tokenizer": replace(TOKENIZER, dims=2), "discriminator": replace(before.discriminator, dims=2)}
        before = replace(before, **flat)
    train(before, tmp_path / "before")
    weights = load_newest_checkpoint(tmp_path / "before" / "checkpoints")["adversary"]["module"]
    after = tokenizer_run(
        adversarial=True, num_steps=1, init_from=str(tmp_path / "before" / "model"), discriminator_optimizer=warm
    )
    train(after, tmp_path / "after")
    found = load_newest_checkpoint(tmp_path / "after" / "checkpoints")["adversary"]["module"]
    for name, kernel in weights.items():
        if name.startswith("discriminator."):
            middle = found[name][:, :, found[name].shape[2] // 2] if found[name].ndim > kernel.ndim else found[name]
            assert torch.equal(middle, kernel), name


@pytest.mark.parametrize("mode", ["central", "average"])
def test_a_run_starts_from_its_inflated_2d_sibling(tmp_path, mode):
    flat = replace(TOKENIZER, dims=2)
    train(tokenizer_run(num_steps=1, tokenizer=flat), tmp_path / "2d")
    weights = load_tensors(tmp_path / "2d" / "model", "tokenizer")
    expected = VideoTokenizer(TOKENIZER)
    inflate(weights, expected, mode)
    config = tokenizer_run(
        num_steps=1,
        init_from=str(tmp_path / "2d" / "model"),
        inflation=mode,
        generator_optimizer=OptimizerConfig(1e-3, warmup_steps=2),  # the first update has rate 0
    )
    train(config, tmp_path / "3d")
    assert same(load_tensors(tmp_path / "3d" / "model", "tokenizer"), expected.state_dict())
    (line,) = metrics(tmp_path / "3d")
    assert line["lr"] == 0


@pytest.mark.parametrize("change", [{"codebook_dim": 4}, {"dims": 2}, {"padding": "zero"}])
def test_a_model_of_another_size_is_no_start(trained, tmp_path, change):
    _, output = trained
    config = tokenizer_run(tokenizer=replace(TOKENIZER, **change), init_from=str(output / "model"))
    with pytest.raises(ValueError, match=r"init_from '.*model' holds .*, expected .* or its 2D sibling") as error:
        train(config, tmp_path / "new")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "new").exists()


def test_a_start_keeps_its_codes_and_a_discriminator_that_fits_no_more_begins_anew(tmp_path, monkeypatch):
    train(tokenizer_run(adversarial=True, num_steps=1), tmp_path / "one")
    wider = replace(tokenizer_run(adversarial=True).discriminator, clip_shape=(4, 32, 32))
    config = tokenizer_run(
        adversarial=True,
        num_steps=1,
        init_from=str(tmp_path / "one" / "model"),
        codebook_init="kmeans",
        data=DataConfig(clip_shape=(4, 32, 32), synthetic_share=1.0),
        discriminator=wider,
    )
    monkeypatch.setattr(module, "codebook_from_latents", lambda *_: pytest.fail("new codes"))
    train(config, tmp_path / "two")
    (found,) = [
        json.loads(line)
        for line in (tmp_path / "two" / "warnings.jsonl").read_text().splitlines()
        if "discriminator" in line
    ]
    assert "the discriminator begins anew" in found["message"]
    assert "dense" in found["message"]


def test_codes_that_are_compared_at_unit_length_begin_at_it(tmp_path):
    config = tokenizer_run(codebook_init="latents", tokenizer=replace(TOKENIZER, normalize_latents=True))
    tokenizer = VideoTokenizer(config.tokenizer)
    codebook_from_latents(tokenizer, TrainingClips(config.data, 0))
    lengths = tokenizer.quantizer.codebook.norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones_like(lengths))


def test_a_codebook_that_never_comes_into_use_is_warned_of(tmp_path):
    config = tokenizer_run(num_steps=2, quantizer_start=2, codebook_init="latents")
    train(config, tmp_path)
    assert "the codebook comes into use at step 2 and the run has 2" in (tmp_path / "warnings.jsonl").read_text()


@pytest.mark.parametrize(("entropy_weight", "passes"), [(0.1, 4), (0.0, 2)])
def test_pieces_are_looked_at_first_only_where_a_loss_is_of_their_mean(tmp_path, monkeypatch, entropy_weight, passes):
    seen, forward = [], VideoTokenizer.forward
    monkeypatch.setattr(VideoTokenizer, "forward", lambda *x, **y: seen.append(1) or forward(*x, **y))
    losses = replace(tokenizer_run().losses, entropy_weight=entropy_weight)
    train(tokenizer_run(num_steps=1, micro_batch_size=2, losses=losses), tmp_path)
    assert len(seen) == passes


def test_a_codebook_of_latents_is_drawn_from_the_clips(tmp_path):
    """Two still videos are fewer than 64 codes of 32 latents a clip need at once: clips are drawn again."""
    generator = torch.Generator().manual_seed(0)
    for name in "ab":
        write_video(tmp_path / f"{name}.mp4", torch.rand(3, 1, 16, 16, generator=generator).expand(3, 4, 16, 16))
    config = tokenizer_run(
        codebook_init="latents",
        data=DataConfig(clip_shape=(4, 16, 16), folder=str(tmp_path)),
        tokenizer=replace(TOKENIZER, codebook_size=80),
    )
    torch.manual_seed(0)
    tokenizer, clips = VideoTokenizer(config.tokenizer), TrainingClips(config.data, 0)
    codebook_from_latents(tokenizer, clips)
    seen = torch.stack([clips[epoch, index]["video"] for epoch in range(12) for index in range(2)])
    latents = tokenizer.encode_latents(seen).movedim(1, -1).flatten(0, 3)
    assert torch.cdist(tokenizer.quantizer.codebook, latents).amin(1).max() < 1e-2
    assert tokenizer.quantizer.codebook.requires_grad
    assert tokenizer.encode(seen).unique().numel() > 20


def test_a_codebook_of_latents_knows_both_halves_of_mixed_data(tmp_path):
    """Past bug: all codes came from moving shapes, which are the first clips of mixed data."""
    write_video(tmp_path / "white.mp4", torch.ones(3, 4, 16, 16))
    config = tokenizer_run(
        data=DataConfig(clip_shape=(4, 16, 16), folder=str(tmp_path), synthetic_share=0.5),
        tokenizer=replace(TOKENIZER, codebook_size=256),
    )
    torch.manual_seed(0)
    tokenizer, clips = VideoTokenizer(config.tokenizer), TrainingClips(config.data, 0)
    codebook_from_latents(tokenizer, clips)
    white = tokenizer.encode_latents(torch.ones(1, 3, 4, 16, 16)).flatten(2)[0].T
    assert torch.cdist(white, tokenizer.quantizer.codebook).amin(1).max() < 1e-2


def test_an_autoencoder_phase_ends_with_a_codebook_amid_the_latents(tmp_path):
    """The codebook waits as it is, then begins anew; a run that is stopped around that moment goes on bit-equal."""
    config = tokenizer_run(
        num_steps=4,
        quantizer_start=2,
        codebook_init="kmeans",
        condition_share=0.5,
        checkpoint_every=1,
        keep_checkpoints=4,
        tokenizer=replace(TOKENIZER, haar=(1, 2, 2), channel_multipliers=(1, 2), linear_path=True),
    )
    train(config, tmp_path / "whole")
    states = [torch.load(tmp_path / f"whole/checkpoints/step_0000000{step}.pt") for step in (1, 2, 3, 4)]
    books = [state["generator"]["module"]["quantizer.codebook"] for state in states]
    assert torch.equal(books[0], books[1])
    assert (books[2] - books[1]).abs().mean() > 0.1
    paths = [state["generator"]["module"]["linear_path.components"] for state in states]
    assert torch.equal(paths[0], paths[3])
    lines = metrics(tmp_path / "whole")
    assert ["perplexity" in line for line in lines] == [False, False, True, True]
    for kept in (1, 2, 3):
        shutil.copytree(tmp_path / "whole", tmp_path / f"again{kept}")
        for step in range(kept + 1, 5):
            (tmp_path / f"again{kept}/checkpoints/step_0000000{step}.pt").unlink()
        train(config, tmp_path / f"again{kept}", resume=True)
        again = torch.load(tmp_path / f"again{kept}/checkpoints/step_00000004.pt")
        assert same(again["generator"], states[3]["generator"])
        assert same(again["average"], states[3]["average"])


def test_means_of_latents_are_nearer_than_latents():
    config = tokenizer_run()
    torch.manual_seed(0)
    tokenizer, clips = VideoTokenizer(config.tokenizer), TrainingClips(config.data, 0)
    video = torch.stack([clips[3, index]["video"] for index in range(64)])
    errors = []
    for means in (False, True):
        codebook_from_latents(tokenizer, clips, means)
        out = tokenizer(video)
        errors.append((out.latents - out.quantized).square().mean())
        assert out.tokens.unique().numel() > 8
    assert errors[1] < 0.9 * errors[0]


def test_a_mean_of_nothing_moves_to_where_it_is_needed():
    x = torch.cat([torch.zeros(10, 2), torch.ones(10, 2), torch.full((10, 2), 9.0)])
    found = module_of_codebook.k_means(x, torch.tensor([[0.4, 0.4], [50.0, 50.0], [60.0, 60.0]]), generator_for(0))
    assert sorted(found[:, 0].tolist()) == pytest.approx([0.0, 1.0, 9.0])


def test_only_the_decoder_is_trained_where_tokens_have_to_stay(trained, tmp_path):
    _, output = trained
    config = tokenizer_run(train="decoder", init_from=str(output / "model"), ema_decay=0.0)
    train(config, tmp_path / "run")
    before, after = (load_tensors(folder / "model", "tokenizer") for folder in (output, tmp_path / "run"))
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"decoder"}
    assert "without_gradient" not in (tmp_path / "run" / "report.html").read_text()


def test_some_clips_are_shown_as_conditions():
    config = tokenizer_run(condition_share=0.5)
    video = torch.stack([TrainingClips(config.data, 0)[0, index]["video"] for index in range(32)])
    shown = shown_as_conditions(video, config, 64)
    changed = (shown != video).flatten(1).any(1)
    assert 6 <= int(changed.sum()) <= 26
    assert torch.equal(shown[8:], shown_as_conditions(video[8:], config, 72))
    assert torch.equal(shown_as_conditions(video, replace(config, condition_share=0.0), 64), video)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"quantizer_start": -1}, "quantizer_start is -1"),
        ({"quantizer_start": 5}, "codebook_init is uniform, expected latents or kmeans"),
        ({"condition_share": 1.5}, "condition_share is 1.5"),
        ({"ema_decay": 1.0}, "ema_decay is 1.0"),
        ({"train": "decoder"}, "expected init_from"),
        (
            {"train": "decoder", "init_from": "a", "quantizer_start": 5, "codebook_init": "kmeans"},
            "quantizer_start is 5, expected 0 where train is decoder",
        ),
        ({"seed": -1}, "seed is -1, expected 0 to 9223372036854775807"),
        ({"seed": 2**63}, "seed is 9223372036854775808, expected 0 to"),
        (
            {"condition_share": 0.1, "data": DataConfig((2, 16, 16)), "tokenizer": replace(TOKENIZER, dims=2)},
            "condition_share is 0.1, expected 0 for clips of 2 frames",
        ),
    ],
)
def test_phases_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        tokenizer_run(**change)
