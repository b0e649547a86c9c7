import os
import warnings

import pytest
import torch

from magvit.training import checkpoint
from magvit.training.checkpoint import load_newest_checkpoint, read_checkpoint, restore, save_checkpoint


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_there_and_back(tmp_path):
    module = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(module.parameters())
    module(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    state = {
        "step": 7,
        "module": module.state_dict(),
        "optimizer": optimizer.state_dict(),
        "half": torch.ones(2).half(),
    }
    path = save_checkpoint(tmp_path / "new" / "folder", 7, state, keep=2)
    assert path.name == "step_00000007.pt"
    loaded = load_newest_checkpoint(path.parent)
    assert loaded["step"] == 7
    assert torch.equal(loaded["module"]["weight"], module.weight)
    assert loaded["half"].dtype == torch.float16
    optimizer.load_state_dict(loaded["optimizer"])
    assert names(path.parent) == [path.name]


def test_there_is_nothing_in_a_new_run(tmp_path):
    assert load_newest_checkpoint(tmp_path / "nowhere") is None
    (tmp_path / ".77.step_00000001.pt").write_bytes(b"unfinished")
    assert load_newest_checkpoint(tmp_path) is None


def test_the_newest_are_kept_and_the_newest_is_loaded(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for step in (5, 50, 500, 99_999_999):
        save_checkpoint(tmp_path, step, {"step": step}, keep=2)
    assert names(tmp_path) == ["notes.txt", "step_00000500.pt", "step_99999999.pt"]
    assert load_newest_checkpoint(tmp_path) == {"step": 99_999_999}


def test_a_crash_while_saving_leaves_the_old_one(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, 1, {"step": 1}, keep=1)

    def crash(state, file):
        file.write(b"half a checkpoint")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.torch, "save", crash)
    for step in (1, 2):
        with pytest.raises(OSError, match="No space left"):
            save_checkpoint(tmp_path, step, {"step": step}, keep=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_newest_checkpoint(tmp_path) == {"step": 1}
    assert names(tmp_path) == ["step_00000001.pt"]


@pytest.mark.parametrize("damage", ["empty", "cut", "noise", "foreign"])
def test_a_damaged_newest_is_skipped_with_a_warning(tmp_path, damage):
    save_checkpoint(tmp_path, 1, {"step": 1, "weight": torch.zeros(1000)}, keep=3)
    newest = save_checkpoint(tmp_path, 2, {"step": 2, "weight": torch.zeros(1000)}, keep=3)
    content = newest.read_bytes()
    if damage == "foreign":  # a pickle that would run code is not read
        torch.save({"step": 2, "function": pytest.fail}, newest)
    else:
        newest.write_bytes({"empty": b"", "cut": content[: len(content) // 2], "noise": bytes(range(256)) * 20}[damage])
    with pytest.warns(UserWarning, match=r"checkpoint .*step_00000002.pt cannot be read .*, and is skipped"):
        assert load_newest_checkpoint(tmp_path)["step"] == 1
    assert newest.exists()


def test_every_flipped_bit_is_noticed_or_harmless(tmp_path):
    """Past bug: PyTorch does not look at the checksums that it writes, so damaged weights were trained on."""
    expected = torch.linspace(0, 1, 300)
    path = save_checkpoint(tmp_path, 2, {"step": 2, "weight": expected}, keep=3)
    content = path.read_bytes()
    noticed = 0
    for position in range(0, len(content), 23):
        path.write_bytes(content[:position] + bytes([content[position] ^ 16]) + content[position + 1 :])
        try:
            state = read_checkpoint(path)
        except ValueError:
            noticed += 1
        else:
            assert state["step"] == 2
            assert torch.equal(state["weight"], expected)
    assert noticed * 23 > expected.nbytes


def test_all_damaged_is_none_and_no_run_starts_over_there(tmp_path):
    (tmp_path / "step_00000003.pt").write_bytes(b"")
    with pytest.warns(UserWarning, match="skipped"):
        assert load_newest_checkpoint(tmp_path) is None
    with (
        pytest.warns(UserWarning, match="skipped"),
        pytest.raises(ValueError, match=r"none of the checkpoints in .* can be read: take them away to start again"),
    ):
        restore(tmp_path, {}, resume=True)


def test_a_new_checkpoint_survives_damaged_ones_of_later_steps(tmp_path):
    """Past bug: the oldest were deleted whatever was just written, and that was the only good one."""
    for step in (20, 30):
        (tmp_path / f"step_{step:08d}.pt").write_bytes(b"torn")
    save_checkpoint(tmp_path, 12, {"step": 12}, keep=2)
    with pytest.warns(UserWarning, match="skipped"):
        assert load_newest_checkpoint(tmp_path) == {"step": 12}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_checkpoint_that_may_not_be_read_is_an_error(tmp_path):
    save_checkpoint(tmp_path, 1, {"step": 1}, keep=2)
    save_checkpoint(tmp_path, 2, {"step": 2}, keep=2).chmod(0)
    with pytest.raises(PermissionError):
        load_newest_checkpoint(tmp_path)


def test_restoring_fills_the_parts_and_tells_the_step(tmp_path):
    parts = {"layer": torch.nn.Linear(2, 2), "other": torch.nn.Linear(1, 1)}
    assert restore(tmp_path, parts, resume=True) == restore(tmp_path, parts, resume=False) == 0
    expected = torch.nn.Linear(2, 2)
    state = {"layer": expected.state_dict(), "other": parts["other"].state_dict()}
    save_checkpoint(tmp_path, 9, {"step": 9, **state}, keep=1)
    assert restore(tmp_path, parts, resume=True) == 9
    assert torch.equal(parts["layer"].weight, expected.weight)


def test_a_run_does_not_start_over_among_the_checkpoints_of_another(tmp_path):
    """Past bug: it deleted its own new checkpoints, as those of the old run had higher numbers."""
    save_checkpoint(tmp_path, 1000, {"step": 1000}, keep=1)
    with pytest.raises(ValueError, match="holds the checkpoints of a run: go on with --resume"):
        restore(tmp_path, {}, resume=False)


@pytest.mark.parametrize("parts", [{"layer": torch.nn.Linear(3, 2)}, {"average": torch.nn.Linear(2, 2)}])
def test_checkpoints_of_another_configuration_are_refused_in_one_sentence(tmp_path, parts):
    save_checkpoint(tmp_path, 1, {"step": 1, "layer": torch.nn.Linear(2, 2).state_dict()}, keep=1)
    with pytest.raises(ValueError, match="holds checkpoints of another configuration: ") as error:
        restore(tmp_path, parts, resume=True)
    assert "\n" not in str(error.value)
