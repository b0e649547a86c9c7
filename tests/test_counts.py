"""What sampling costs, by counts that no machine changes: arithmetic, encoded clips, numbers the host waits for."""

from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from magvit.tasks import get_task
from tiny_model import random_clip, tiny_pipeline


class Calls(TorchDispatchMode):
    """How often each operator was called."""

    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.counts[function._overloadpacket._qualified_op_name] += 1
        return function(*args, **(kwargs or {}))


@pytest.fixture
def pipe():
    return tiny_pipeline()


def flops_of(function, *args, **options):
    with FlopCounterMode(display=False) as counter:
        function(*args, **options)
    return counter.get_total_flops()


def sample(pipe, steps, **options):
    task, nothing = get_task("CG"), torch.zeros(1, 2, 4, 4, dtype=torch.long)
    decoding = pipe.decoding("CG", num_steps=steps, **options)
    return pipe.generate_tokens(task, nothing, nothing.bool(), [1], decoding, [torch.Generator().manual_seed(0)])


def test_a_step_is_one_pass_and_guidance_a_second_where_it_acts(pipe):
    with torch.no_grad():
        one = flops_of(pipe.transformer, torch.zeros(1, 34, dtype=torch.long))
    assert one > 0
    assert flops_of(sample, pipe, 4) == 4 * one
    assert flops_of(sample, pipe, 4, guidance_scale=2.0) == 8 * one
    assert flops_of(sample, pipe, 4, guidance_scale=2.0, guidance_schedule="interval:0.5,1") == 6 * one


def test_the_host_asks_for_two_numbers_a_step(pipe):
    """Those of the schedule, which never leave it: one more would have it wait for the device."""
    found = []
    for steps in (2, 6):
        with Calls() as calls:
            sample(pipe, steps)
        found.append(calls.counts["aten::_local_scalar_dense"])
    assert (found[1] - found[0]) / 4 <= 2


def test_what_is_not_given_is_not_encoded(pipe, monkeypatch):
    encoded = []
    encode = pipe.tokenizer.encode
    monkeypatch.setattr(pipe.tokenizer, "encode", lambda video: encoded.append(len(video)) or encode(video))
    for task in ("CG", "unconditional"):
        pipe(task, label=1 if task == "CG" else None, num_steps=2, num_samples=2)
    assert encoded == []
    pipe("FP", random_clip(), num_steps=2, num_samples=2)
    assert encoded == [1]


def test_resampling_costs_less_without_gradients(pipe):
    """The two enlargements and poolings of this tokenizer are joined with a convolution each."""
    video, tokens = random_clip(16, 32, 32)[None], torch.zeros(1, 4, 8, 8, dtype=torch.long)
    quantized = pipe.tokenizer.quantizer.lookup(tokens).detach()
    for function, given, share in (
        (pipe.tokenizer.encode_latents, video, 0.75),
        (pipe.tokenizer.decode_latents, quantized, 0.85),
    ):
        plain = flops_of(function, given)
        with torch.no_grad():
            assert flops_of(function, given) < share * plain
