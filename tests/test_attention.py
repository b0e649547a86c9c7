import pytest
import torch
from torch.nn import functional as F

from magvit.nn.attention import (
    KeyValueCache,
    Mlp,
    SelfAttention,
    attend,
    attend_by_heads,
    attend_with_dropout,
    causal_mask,
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
def test_dropout_takes_out_weights_at_random_and_enlarges_the_others(dropout):
    """With the identity as values the result is the weights themselves."""
    query, key = torch.randn(2, 3, 50, 64), torch.randn(2, 3, 64, 64)
    weights = (query @ key.mT / 64**0.5).softmax(-1)
    torch.manual_seed(0)
    found = attend_with_dropout(query, key, torch.eye(64).expand(2, 3, 64, 64), dropout)
    kept = found != 0
    torch.testing.assert_close(found[kept], weights[kept] / (1 - dropout))
    by_lane = (~kept).flatten().view(-1, 4).float().mean(0)  # the four that share a draw
    torch.testing.assert_close(by_lane, torch.full((4,), dropout), atol=0.02, rtol=0)
    torch.manual_seed(0)
    again = attend_with_dropout(query, key, torch.eye(64).expand(2, 3, 64, 64), dropout)
    assert torch.equal(found, again)


def test_dropout_acts_in_training_only(attention):
    x = torch.randn(2, 5, 12)
    expected = by_hand(attention, x)
    attention.train()
    assert not torch.allclose(attention(x), expected)
    attention.dropout = 0.0
    torch.testing.assert_close(attention(x), expected)


@pytest.mark.parametrize(("length", "total"), [(7, 7), (1, 5), (130, 130)])
def test_attention_head_by_head_is_the_fused_one_within_rounding(length, total):
    """In float32 to its last digits; in bf16, where sampling takes it, no further off than the kernel it stands for."""
    query, key, value = (torch.randn(2, 3, count, 16) for count in (length, total, total))
    exact = F.scaled_dot_product_attention(query.double(), key.double(), value.double())
    torch.testing.assert_close(attend_by_heads(query, key, value).double(), exact, atol=1e-5, rtol=0)
    narrow = [x.bfloat16() for x in (query, key, value)]
    errors = [(way(*narrow).double() - exact).abs().max() for way in (attend, F.scaled_dot_product_attention)]
    assert errors[0] < 2 * errors[1] + 2**-8


def test_attention_goes_head_by_head_where_no_gradient_is_wanted(monkeypatch):
    """So that training takes the same kernel as ever."""
    calls = []
    monkeypatch.setattr("magvit.nn.attention.attend_by_heads", lambda *x: calls.append(1) or attend_by_heads(*x))
    x = torch.randn(1, 2, 5, 4, dtype=torch.bfloat16)
    for counts, query, options in (
        (1, x, {}),
        (0, x.clone().requires_grad_(), {}),
        (0, x.float(), {}),
        (0, x, {"is_causal": True}),
        (0, x, {"mask": torch.ones(5, 5, dtype=torch.bool)}),
        (0, x, {"dropout": 0.1}),
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


def test_mlp_uses_the_tanh_gelu():
    mlp = Mlp(4, 8)
    x = torch.randn(1, 3, 4)
    torch.testing.assert_close(mlp(x), mlp.down(F.gelu(mlp.up(x), approximate="tanh")))
