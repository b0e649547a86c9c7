from dataclasses import replace

import pytest
import torch
from torch import nn

from magvit.training.config import LoopConfig
from magvit.training.engine import Learner, Machine, average_of, launch, mean_metrics, micro_batches, seed_step
from magvit.training.optim import OptimizerConfig

LOOP = LoopConfig(num_steps=10, global_batch_size=12, precision="float32")


def test_an_average_has_no_bias_correction_and_follows_buffers_too():
    module = nn.BatchNorm1d(1)
    average, averaged = average_of(module, 0.9)
    assert averaged is average.module
    assert not averaged.training
    with torch.no_grad():
        for expected in (0.9 * 1 + 0.1 * 5, 0.9 * (0.9 * 1 + 0.1 * 5) + 0.1 * 5):
            module.weight.fill_(5.0)
            module.running_mean.fill_(10 * module.weight[0])
            average.update_parameters(module)
            assert averaged.weight.item() == pytest.approx(expected)
    assert averaged.running_mean.item() == pytest.approx(50 * 0.19)


def test_an_average_starts_from_the_initial_weights():
    module = nn.Linear(3, 3)
    _, averaged = average_of(module, 0.9)
    assert torch.equal(averaged.weight, module.weight)
    assert averaged.weight is not module.weight


def test_an_average_goes_on_after_loading():
    module = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(module.weight)
    (first, _), (second, _) = (average_of(module, 0.5) for _ in range(2))
    nn.init.ones_(module.weight)
    first.update_parameters(module)
    second.load_state_dict(first.state_dict())
    for average in (first, second):
        average.update_parameters(module)
        assert average.module.weight.item() == 0.75


@pytest.mark.parametrize(
    ("micro", "processes", "expected"), [(None, 1, (12, 1)), (3, 1, (3, 4)), (3, 2, (3, 2)), (None, 4, (3, 1))]
)
def test_pieces_of_a_batch(micro, processes, expected):
    assert micro_batches(replace(LOOP, micro_batch_size=micro), processes) == expected


def test_metrics_are_means_over_the_pieces():
    pieces = [{"loss": torch.tensor(1.0)}, {"loss": torch.tensor(3.0).bfloat16()}]
    assert mean_metrics(pieces, launch(LOOP, Machine("cpu"))) == {"loss": 2.0}


def test_the_randomness_of_a_step_does_not_depend_on_the_steps_before():
    def drawn(seed: int, step: int) -> float:
        seed_step(replace(LOOP, seed=seed), step)
        return torch.rand(()).item()

    straight = [drawn(0, step) for step in range(5)]
    assert [drawn(0, step) for step in (4, 2)] == [straight[4], straight[2]]
    assert len({*straight, *(drawn(1, step) for step in range(5))}) == 10


def test_precision_decides_the_networks_and_not_the_weights():
    for precision, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        fabric = launch(replace(LOOP, precision=precision), Machine("cpu"))
        module = fabric.setup(nn.Linear(2, 2))
        assert module.weight.dtype == torch.float32
        with fabric.autocast():
            assert nn.functional.linear(torch.ones(1, 2), module.weight).dtype == dtype


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_steps": 0}, "num_steps is 0, expected at least 1"),
        ({"global_batch_size": 0}, "global_batch_size is 0"),
        ({"log_every": 0}, "log_every is 0"),
        ({"sample_every": -1}, "sample_every is -1"),
        ({"checkpoint_every": 0}, "checkpoint_every is 0"),
        ({"keep_checkpoints": 0}, "keep_checkpoints is 0"),  # 0 would keep all: [:-0] is empty
        ({"micro_batch_size": 5}, "micro_batch_size is 5, expected a divisor of global_batch_size 12"),
        ({"micro_batch_size": 0}, "micro_batch_size is 0"),
    ],
)
def test_loops_that_cannot_run_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(LOOP, **change)


def test_a_resumed_optimizer_has_the_settings_of_its_config_and_the_moments_of_the_state():
    def learner(config: OptimizerConfig) -> Learner:
        return Learner(launch(LOOP, Machine("cpu")), nn.Linear(2, 2), config, 10)

    old, config = learner(OptimizerConfig(1e-3)), OptimizerConfig(2e-3, betas=(0.5, 0.6), weight_decay=0.25)
    old.wrapped(torch.ones(1, 2)).sum().backward()
    old.update(0)
    resumed, new = learner(config), learner(config)
    resumed.load_state_dict(old.state_dict())
    for ours, expected in zip(resumed.optimizer.param_groups, new.optimizer.param_groups, strict=True):
        names = ours.keys() - {"params"}
        assert {name: ours[name] for name in names} == {name: expected[name] for name in names}
    moments, expected = (one.state_dict()["optimizer"]["state"]["weight"]["exp_avg"] for one in (resumed, old))
    assert torch.equal(moments, expected)
