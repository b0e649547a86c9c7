"""The guard of a run: what was seen on the device is told with step, clips and checkpoint, and stops all processes."""

import json
import math
import re
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from magvit.training.checks import Finding
from magvit.training.guards import NEVER, FiniteWatch, Guard, TrainingStopped
from magvit.training.log import RunLog

FINE, NAN, INF = torch.tensor(0.5), torch.tensor(math.nan), torch.tensor(math.inf)


def batch(*index: int, video: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
    clips = torch.rand(len(index), 3, 2, 4, 4, generator=torch.Generator().manual_seed(0)) if video is None else video
    return {"video": clips, "index": torch.tensor(index), "label": torch.full((len(index),), -1)}


def recorded(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "warnings.jsonl").read_text().splitlines()]


def guard(folder: Path, **changes: Any) -> Guard:
    log = changes.pop("log") if "log" in changes else RunLog(folder)
    return Guard(log, folder / "checkpoints", lambda index, label: f"{index}.mp4", **changes)


@pytest.mark.parametrize("bad", [NAN, INF, -INF, NAN.bfloat16()])
def test_the_first_step_that_was_not_finite(bad: torch.Tensor) -> None:
    watch = FiniteWatch()
    assert watch.first_bad() == (NEVER, [])
    for step in range(1, 10):
        watch.see(step, {"total_loss": FINE, "entropy_loss": bad if step in (4, 6) else FINE})
        watch.see(step, {"total_loss": FINE, "entropy_loss": FINE})  # another piece of the same step
        watch.see(step, {"gradient_norm": bad if step >= 5 else FINE})
        watch.see(step, {"r1_penalty": FINE} if step % 2 else {"lecam_loss": FINE})  # names come and go
    assert watch.first_bad() == (4, ["entropy_loss"])
    watch.see(4, {"gradient_norm": bad})
    assert watch.first_bad() == (4, ["entropy_loss", "gradient_norm"])


def test_watching_reads_nothing_from_the_device() -> None:
    """Tensors without storage cannot be read: seeing them is arithmetic alone."""
    watch = FiniteWatch()
    for step in range(1, 4):
        watch.see(step, {"total_loss": torch.zeros((), device="meta", requires_grad=True)})
    with pytest.raises((RuntimeError, NotImplementedError)):
        watch.first_bad()


def test_nothing_wrong(tmp_path: Path) -> None:
    guarding = guard(tmp_path)
    for step in range(1, 5):
        guarding.admit(step, batch(step))
        guarding.see(step, {"total_loss": FINE})
        guarding.see(step, {"gradient_norm": FINE})
        guarding.check(step)
        guarding.judge(step, {"total_loss": 0.5, "lr": 1e-4})
    assert not (tmp_path / "warnings.jsonl").exists()


def test_stops_with_step_clips_and_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    for step in (10, 20, 30):
        (tmp_path / "checkpoints" / f"step_{step:08d}.pt").touch()
    guarding = guard(tmp_path)
    for step in range(21, 31):
        losses = {"total_loss": NAN if step >= 24 else FINE, "entropy_loss": NAN if step == 24 else FINE}
        for piece in (2 * step, 2 * step + 1):
            guarding.admit(step, batch(piece))
            guarding.see(step, losses)
        guarding.see(step, {"gradient_norm": FINE})
    with pytest.raises(TrainingStopped) as stopped:
        guarding.check(30)
    message = str(stopped.value)
    assert message.startswith("step 24: total_loss, entropy_loss became NaN or infinite on the clips 48.mp4, 49.mp4;")
    assert "step_00000020.pt, the last good checkpoint" in message
    assert "--resume" in message
    (record,) = recorded(tmp_path)
    assert (record["step"], record["severity"], record["name"]) == (24, "error", "not_finite")
    assert f"step 24: {record['message']}" == message


def test_without_a_checkpoint_there_is_nothing_to_go_on_from(tmp_path: Path) -> None:
    guarding = guard(tmp_path)
    guarding.see(1, {"gradient_norm": INF})
    with pytest.raises(TrainingStopped, match=r"step 1: gradient_norm became .*start again"):
        guarding.check(1)


def test_the_video_itself_is_to_blame(tmp_path: Path) -> None:
    guarding = guard(tmp_path)
    for step, clip in ((1, batch(5)), (2, batch(6)), (3, batch(7, video=torch.full((1, 3, 2, 4, 4), math.nan)))):
        assert guarding.admit(step, clip) is clip
        guarding.see(step, {"total_loss": NAN if step == 3 else FINE})
    guarding.admit(4, batch(8))
    with pytest.raises(TrainingStopped, match=r"step 3: video, total_loss became .* clips 7.mp4; one of these"):
        guarding.check(4)


def test_the_first_batch_is_checked_before_it_is_used(tmp_path: Path) -> None:
    with pytest.raises(
        TrainingStopped, match=r"step 1: the batch has values in \[.*divide by 255 \(clips 3.mp4, 5.mp4"
    ):
        guard(tmp_path).admit(1, batch(3, 5, video=255 * torch.rand(2, 3, 2, 4, 4)))
    with pytest.raises(TrainingStopped, match=r"step 1: the batch is torch\.uint8"):
        guard(tmp_path).admit(1, batch(3, video=torch.ones(1, 3, 2, 4, 4, dtype=torch.uint8)))
    with pytest.raises(TrainingStopped, match=r"step 1: video became NaN or infinite on the clips 3.mp4"):
        guard(tmp_path).admit(1, batch(3, video=torch.full((1, 3, 2, 4, 4), math.nan)))


def test_later_batches_are_checked_at_log_steps(tmp_path: Path) -> None:
    guarding = guard(tmp_path)
    guarding.admit(1, batch(1))
    guarding.admit(2, batch(2, video=2 * torch.rand(1, 3, 2, 4, 4) - 1))
    with pytest.raises(TrainingStopped, match=r"step 2: the batch has values in \[-0.*2.mp4"):
        guarding.check(2)


def test_warnings_are_told_once_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    guarding = guard(tmp_path)
    for step in (10, 20):
        guarding.admit(step, batch(step, video=torch.zeros(1, 3, 2, 4, 4)))
        guarding.check(step)
        guarding.warn(step, [Finding("warning", "odd", f"seen at {step}")])
    assert [(record["step"], record["name"]) for record in recorded(tmp_path)] == [(10, "constant_batch"), (10, "odd")]
    shown = capsys.readouterr().err
    assert shown.count("warning at step") == 2
    assert "10.mp4" in shown
    resumed = guard(tmp_path, log=RunLog(tmp_path, 15))
    resumed.warn(30, [Finding("warning", "odd", "again")])
    assert len(recorded(tmp_path)) == 2


def test_metrics_are_judged_by_their_history(tmp_path: Path) -> None:
    guarding = guard(tmp_path, num_steps=1000)
    assert guarding.log is not None
    for step in range(10, 200, 10):
        values = {"codebook_usage": 0.01, "perplexity": 1.0}
        guarding.judge(step, values)
        guarding.log.scalars(step, values)
    (record,) = recorded(tmp_path)
    assert (record["step"], record["name"]) == (100, "dead_codebook")


def test_tokens_without_pixels(tmp_path: Path) -> None:
    """Batches of a token cache."""
    guarding = guard(tmp_path)
    tokens = {name: value for name, value in batch(1, 2).items() if name != "video"}
    guarding.admit(1, tokens)
    guarding.see(1, {"total_loss": NAN})
    with pytest.raises(TrainingStopped, match=r"total_loss became NaN or infinite on the clips 1.mp4, 2.mp4"):
        guarding.check(1)


@pytest.mark.parametrize("kind", ["loss", "video", "pixels", "two steps"])
def test_all_processes_stop_together_with_one_message(tmp_path: Path, kind: str) -> None:
    """Three processes as threads; the second has the bad clip, and one without a log hears of it as well."""
    barrier, table = threading.Barrier(3, timeout=20), [None] * 3
    messages: list[str | None] = [None] * 3

    def process(rank: int) -> None:
        def share(thing: Any) -> list[Any]:
            table[rank] = thing
            barrier.wait()
            everything = list(table)
            barrier.wait()
            return everything

        guarding = guard(tmp_path, log=RunLog(tmp_path) if rank == 0 else None, share=share)
        bad = {"loss": {1: 4}, "video": {0: 4, 1: 4, 2: 4}, "pixels": {}, "two steps": {1: 4, 2: 6}}[kind]
        for step in range(1, 8):
            loss = NAN if step >= bad.get(rank, NEVER) else FINE
            video = batch(100 * rank + step)
            if kind == "pixels" and rank == 1 and step == 7:
                video["video"] = video["video"] * 255
            if kind == "video" and rank == 1 and step == 4:
                video["video"] = video["video"] * math.nan
            guarding.admit(step, video)
            guarding.see(step, {"total_loss": loss})
            guarding.see(step, {"gradient_norm": NAN if step >= 4 and bad else FINE})
        try:
            guarding.check(7)
        except TrainingStopped as stopped:
            messages[rank] = str(stopped)

    threads = [threading.Thread(target=process, args=(rank,)) for rank in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert messages[0] is not None
    assert messages[0] == messages[1] == messages[2]
    begin = {
        "loss": "step 4: total_loss, grad",
        "video": "step 4: video",
        "pixels": "step 7: the batch",
        "two steps": "step 4: ",
    }
    assert messages[0].startswith(begin[kind])
    clip = "107.mp4" if kind == "pixels" else "104.mp4"
    assert re.findall(r"[0-9]+\.mp4", messages[0]) == [clip]  # of the second process
    assert len(recorded(tmp_path)) == 1
