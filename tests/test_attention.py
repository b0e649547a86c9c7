import pytest
import torch
from torch.nn import functional as F

from magvit.nn import attention as attention_module
from magvit.nn.attention import (
    Dropout,
    KeyValueCache,
    Mlp,
    SelfAttention,
    attend,
    attend_in_blocks,
    causal_mask,
    linear_gelu,
)


def by_hand(attention, x, mask=None):
    """Scaled dot products written out, one head at a time."""
    size = x.shape[-1] // attention.num_heads
    query, key, value = (part.split(size, dim=-1) for part in attention.qkv(x).chunk(3, dim=-1))
    heads = []
    for q, k, v in zip(query, key, value, strict=True):
        scores = q @ k.mT / size**0.5
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf)
        heads.append(scores.softmax(-1) @ v)
    return attention.out(torch.cat(heads, dim=-1))


@pytest.fixture
def attention():
    torch.manual_seed(0)
    return SelfAttention(hidden_size=12, num_heads=3, dropout=0.5).eval()


@pytest.mark.parametrize("causal", [False, True])
def test_attention_equals_the_formula(attention, causal):
    x = torch.randn(2, 5, 12)
    mask = causal_mask(5, 5, x.device) if causal else None
    torch.testing.assert_close(attention(x, is_causal=causal), by_hand(attention, x, mask))
    if causal:
        torch.testing.assert_close(attention(x, mask), attention(x, is_causal=True))


@pytest.mark.parametrize("dropout", [0.1, 0.75])
@pytest.mark.parametrize("at_once", [2**30, 4 * 50 * 64, 1])
def test_dropout_takes_out_weights_at_random_and_enlarges_the_others(dropout, at_once, monkeypatch):
    """With the identity as values the result is the weights themselves."""
    monkeypatch.setattr(attention_module, "SCORES_AT_ONCE", at_once)
    query, key = torch.randn(2, 3, 50, 64), torch.randn(2, 3, 64, 64)
    weights = (query @ key.mT / 64**0.5).softmax(-1)
    torch.manual_seed(0)
    found = attend_in_blocks(query, key, torch.eye(64).expand(2, 3, 64, 64), dropout)
    kept = found != 0
    torch.testing.assert_close(found[kept], weights[kept] / (1 - dropout))
    by_lane = (~kept).flatten().view(-1, 4).float().mean(0)  # the four that share a draw
    torch.testing.assert_close(by_lane, torch.full((4,), dropout), atol=0.02, rtol=0)
    torch.manual_seed(0)
    again = attend_in_blocks(query, key, torch.eye(64).expand(2, 3, 64, 64), dropout)
    assert torch.equal(found, again)


def test_dropout_of_activations():
    """As PyTorch's: gradients go where numbers are left, and in evaluation, or of probability 0, it does nothing."""
    drop, x = Dropout(0.25), torch.full((7, 1001), 3.0, requires_grad=True)
    found = drop(x)
    (gradient,) = torch.autograd.grad(found.sum(), x)
    assert torch.equal(found, 3 * gradient)
    assert found.unique().tolist() == [0, 4]
    assert abs((found == 0).float().mean() - 0.25) < 0.02
    assert torch.equal(drop.eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)


def test_dropout_acts_in_training_only(attention):
    x = torch.randn(2, 5, 12)
    expected = by_hand(attention, x)
    attention.train()
    assert not torch.allclose(attention(x), expected)
    attention.dropout = 0.0
    torch.testing.assert_close(attention(x), expected)


@pytest.mark.parametrize(("length", "total"), [(7, 7), (1, 5), (130, 130)])
@pytest.mark.parametrize("at_once", [2**30, 2 * 130 * 130, 1])
@pytest.mark.parametrize("largest", [1, 100])
def test_attention_in_blocks_is_the_fused_one_within_rounding(length, total, at_once, largest, monkeypatch):
    """In float32 to its last digits; in bf16 no further off than the kernel it stands for; gradients too. Scores of
    400 are beyond what has an exponential.
    """
    monkeypatch.setattr(attention_module, "SCORES_AT_ONCE", at_once)
    parts = [torch.randn(2, 3, count, 16) for count in (length, total, total)]
    parts[0][0, 0, 0] = parts[1][0, 0, 0] = largest**0.5  # 16 of them make 4 times `largest` of a score
    parts = [x.requires_grad_() for x in parts]
    wide = [x.detach().double().requires_grad_() for x in parts]
    exact = F.scaled_dot_product_attention(*wide)
    found = attend_in_blocks(*parts)
    with torch.no_grad():
        torch.testing.assert_close(attend_in_blocks(*parts).double(), exact, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.double(), exact, atol=1e-5, rtol=0)
    gradients = torch.autograd.grad(found.sin().sum(), parts), torch.autograd.grad(exact.sin().sum(), wide)
    for mine, right in zip(*gradients, strict=True):
        torch.testing.assert_close(mine.double(), right, atol=1e-5 * largest**0.5, rtol=0)
    narrow = [x.detach().bfloat16() for x in parts]
    for autocast in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            made = [way(*narrow) for way in (attend, F.scaled_dot_product_attention)]
        assert made[0].dtype == torch.bfloat16
        errors = [(x.double() - exact).abs().max() for x in made]
        assert errors[0] < 2 * errors[1] + 2**-8


def test_gradients_in_bfloat16_are_those_of_softmax_where_values_have_a_common_mean():
    query, key = torch.randn(2, 1, 2, 256, 64).bfloat16()
    value, gradient = torch.randn(2, 1, 2, 256, 64).add(3).bfloat16()
    query.requires_grad_()
    ways = (
        lambda q, k, v: F.scaled_dot_product_attention(q.double(), k.double(), v.double()),
        lambda q, k, v: (q @ k.mT / 8).softmax(-1) @ v,
        attend_in_blocks,
    )
    exact, *found = (torch.autograd.grad((way(query, key, value) * gradient).sum(), query)[0] for way in ways)
    errors = [(one - exact).double().norm() for one in found]
    assert errors[1] < 1.5 * errors[0]


def test_attention_goes_in_blocks_where_that_is_faster(monkeypatch):
    calls = []
    monkeypatch.setattr(attention_module, "attend_in_blocks", lambda *x: calls.append(1) or attend_in_blocks(*x))
    x = torch.randn(1, 2, 5, 4, dtype=torch.bfloat16)
    for counts, query, options in (
        (1, x, {}),
        (1, x.clone().requires_grad_(), {}),
        (0, x.float(), {}),
        (0, x, {"is_causal": True}),
        (0, x, {"mask": torch.ones(5, 5, dtype=torch.bool)}),
        (1, x.float(), {"dropout": 0.1}),
    ):
        calls.clear()
        attend(query, x.to(query.dtype), x.to(query.dtype), **options)
        assert len(calls) == counts, options


def test_cache_gives_the_same_as_all_positions_at_once(attention):
    x = torch.randn(2, 6, 12)
    cache = KeyValueCache(6)
    with torch.no_grad():
        parts = []
        for start, end in ((0, 3), (3, 4), (4, 6)):
            mask = causal_mask(end - start, end, x.device)
            parts.append(attention(x[:, start:end], mask, cache=cache))
        torch.testing.assert_close(torch.cat(parts, dim=1), attention(x, is_causal=True))
        with pytest.raises(ValueError, match="holds 6 positions, 7"):
            attention(x[:, :1], cache=cache)


def test_causal_mask_of_the_last_rows():
    assert causal_mask(2, 4, torch.device("cpu")).tolist() == [[True, True, True, False], [True] * 4]


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="hidden_size 10 is not divisible by num_heads 3"):
        SelfAttention(10, 3, 0.0)


def test_linear_and_gelu_joined_are_no_further_off_than_one_after_the_other(monkeypatch):
    linear, x = torch.nn.Linear(48, 80), torch.randn(3, 7, 48)
    exact = F.gelu(F.linear(*(part.double() for part in (x, linear.weight, linear.bias))), approximate="tanh")
    torch.testing.assert_close(linear_gelu(linear, x).double(), exact, atol=1e-6, rtol=0)
    linear.bfloat16()
    apart = linear_gelu(linear, x.bfloat16())  # with gradients
    assert apart.requires_grad
    with torch.no_grad():
        joined = linear_gelu(linear, x.bfloat16())
    assert joined.dtype == torch.bfloat16
    errors = [(found.double() - exact).abs().mean() for found in (joined, apart)]
    assert errors[0] <= errors[1] < 0.01  # equal where a CPU has no such kernel
    monkeypatch.setattr(attention_module, "quickest_dtype", lambda device: torch.float32)
    with torch.no_grad():
        assert torch.equal(linear_gelu(linear, x.bfloat16()), apart)


def test_mlp_uses_the_tanh_gelu():
    mlp = Mlp(4, 8)
    x = torch.randn(1, 3, 4)
    torch.testing.assert_close(mlp(x), mlp.down(F.gelu(mlp.up(x), approximate="tanh")))
