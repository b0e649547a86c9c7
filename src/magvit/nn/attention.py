"""The size of a transformer, and the two parts of its layers: self-attention with one fused projection, and the MLP.

`MaskedTransformer` (post-norm, bidirectional) and `AutoregressiveTransformer` (pre-norm, causal) put norms and
residuals around them in their own files.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from magvit.device import own_type, quickest_dtype

SCORES_AT_ONCE = 2**23
"""How many scores of attention are written out at a time on the CPU: those of seven heads of 1,026 positions, 15 MB in
bfloat16. Short sequences want many heads at once, long ones few."""
MOST_SCORE = 64.0
"""Of scores between this and its negative a million exponentials can be added up, in float32 and bfloat16 too."""


@dataclass(frozen=True)
class TransformerSize:
    """Width and depth of a transformer; the defaults are those of MAGVIT-B.

    Attributes:
        hidden_size: width.
        num_layers: layers.
        num_heads: attention heads; must divide `hidden_size`.
        mlp_size: inner width of the MLPs.
        dropout: where, each transformer says.

    Raises:
        ValueError: if a size is not positive or the dropout is not in [0, 1).
    """

    hidden_size: int = 768
    num_layers: int = 12
    num_heads: int = 12
    mlp_size: int = 3072
    dropout: float = 0.1

    def __post_init__(self) -> None:
        for name in ("hidden_size", "num_layers", "num_heads", "mlp_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        if self.hidden_size % self.num_heads:
            raise ValueError(f"hidden_size {self.hidden_size} is not divisible by num_heads {self.num_heads}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}, expected a number in [0, 1)")


class KeyValueCache:
    """Keys and values of the positions one attention layer has seen so far, for incremental decoding.

    Memory for `max_length` positions is taken at the first `append`, on the device and in the type of its keys.
    """

    def __init__(self, max_length: int) -> None:
        self.max_length = max_length
        self.length = 0
        self._store: Tensor | None = None

    def append(
        self, keys: Float[Tensor, "B heads L d"], values: Float[Tensor, "B heads L d"]
    ) -> tuple[Float[Tensor, "B heads total d"], Float[Tensor, "B heads total d"]]:
        """Add `L` new positions and return all positions so far.

        Raises:
            ValueError: if more than `max_length` positions would be held.
        """
        end = self.length + keys.shape[2]
        if end > self.max_length:
            raise ValueError(f"the cache holds {self.max_length} positions, {end} were needed")
        if self._store is None:
            batch, heads, _, size = keys.shape
            self._store = keys.new_empty(2, batch, heads, self.max_length, size)
        self._store[0, :, :, self.length : end] = keys
        self._store[1, :, :, self.length : end] = values
        self.length = end
        return self._store[0, :, :, :end], self._store[1, :, :, :end]


class SelfAttention(nn.Module):
    """Multi-head self-attention, scaled by 1/sqrt(head size), with dropout on the attention weights.

    `qkv` holds query, key and value one after the other, each ordered head by head.

    Raises:
        ValueError: if `num_heads` does not divide `hidden_size`.
    """

    def __init__(self, hidden_size: int, num_heads: int, dropout: float, bias: bool = True) -> None:
        super().__init__()
        if num_heads < 1 or hidden_size % num_heads:
            raise ValueError(f"hidden_size {hidden_size} is not divisible by num_heads {num_heads}")
        self.num_heads = num_heads
        self.dropout = dropout
        self.qkv = nn.Linear(hidden_size, 3 * hidden_size, bias=bias)
        self.out = nn.Linear(hidden_size, hidden_size, bias=bias)

    def forward(
        self,
        x: Float[Tensor, "B L hidden"],
        mask: Bool[Tensor, "... #L total"] | Float[Tensor, "... #L total"] | None = None,
        is_causal: bool = False,
        cache: KeyValueCache | None = None,
    ) -> Float[Tensor, "B L hidden"]:
        """Attend from the `L` positions of `x` to themselves and to those in `cache`.

        Args:
            x: input.
            mask: which positions are seen, True = seen, or a float added to the scores; leading axes broadcast to
                `B heads`. None = all.
            is_causal: see only earlier positions and oneself; not together with `mask` or `cache`.
            cache: earlier positions; those of `x` are appended to it.
        """
        batch, length, hidden = x.shape
        qkv = self.qkv(x).view(batch, length, 3, self.num_heads, hidden // self.num_heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # each B heads L d
        if cache is not None:
            key, value = cache.append(key, value)
        x = attend(query, key, value, mask, self.dropout if self.training else 0.0, is_causal)
        return self.out(x.transpose(1, 2).reshape(batch, length, hidden))


def attend(
    query: Float[Tensor, "B heads L d"],
    key: Float[Tensor, "B heads M d"],
    value: Float[Tensor, "B heads M d"],
    mask: Bool[Tensor, "... #L M"] | Float[Tensor, "... #L M"] | None = None,
    dropout: float = 0.0,
    is_causal: bool = False,
) -> Float[Tensor, "B heads L d"]:
    """`dropout(softmax(query key^T / sqrt(d) + mask)) value`, by PyTorch's fused kernel or what is faster."""
    slow = dropout or query.dtype == torch.bfloat16  # of PyTorch's on the CPU
    if slow and _is_eager_cpu(query) and mask is None and not is_causal:
        return attend_in_blocks(query, key, value, dropout)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout, is_causal=is_causal)


def _is_eager_cpu(x: Tensor) -> bool:
    """Whether `x` is on the CPU; what is compiled there is left to the compiler."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def attend_in_blocks(
    query: Float[Tensor, "*B L d"], key: Float[Tensor, "*B M d"], value: Float[Tensor, "*B M c"], dropout: float = 0.0
) -> Float[Tensor, "*B L c"]:
    """`dropout(softmax(query key^T / sqrt(d))) value`, on the CPU about twice as fast as PyTorch's own.

    The scores, which are written out, are those of some heads at a time. With dropout PyTorch's computes in float32,
    and draws a random number for each weight. Softmax need not find each row's maximum if no score can be too large.
    """
    heads = max(1, SCORES_AT_ONCE // (query.shape[-2] * key.shape[-2]))

    def attend_block(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        scores = q @ k.mT
        if small:
            weights = scores.exp_()
            return weights @ v / weights.sum(-1, keepdim=True)
        weights = scores.softmax(-1)
        return weights * kept(weights, dropout) @ v / (1 - dropout) if dropout else weights @ v

    with own_type(query):  # autocast would write float32 scores
        query = query * query.shape[-1] ** -0.5
        # with gradients, those of the two factors would cancel, and bfloat16 lose them
        small = not dropout and not torch.is_grad_enabled() and _longest(query) * _longest(key) < MOST_SCORE
        blocks = (x.flatten(0, -3).split(heads) for x in (query, key, value))
        made = torch.cat([attend_block(*block) for block in zip(*blocks, strict=True)])
        return made.view(*query.shape[:-1], value.shape[-1])


def _longest(x: Float[Tensor, "*B L d"]) -> float:
    """The largest Euclidean length."""
    return torch.linalg.vector_norm(x, dim=-1).amax().item()


def kept(x: Tensor, dropout: float) -> Tensor:
    """1 where dropout leaves a number of `x` on the CPU, else 0.

    A random number of 64 bits serves four, so the probability is rounded to a multiple of 2^-16.
    """
    draws = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None).view(torch.int16)
    return draws[: x.numel()].view(x.shape).ge_(round(dropout * 2**16) - 2**15).to(x.dtype)


class Dropout(nn.Dropout):
    """PyTorch's, but on the CPU with a quarter of its random numbers."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply in training."""
        if self.training and self.p and _is_eager_cpu(x):
            return x * kept(x, self.p) / (1 - self.p)
        return super().forward(x)


class Mlp(nn.Module):
    """Linear, gelu (tanh approximation), linear; `dropout` acts on the inner activations."""

    def __init__(self, hidden_size: int, mlp_size: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.up = nn.Linear(hidden_size, mlp_size)
        self.down = nn.Linear(mlp_size, hidden_size)
        self.dropout = Dropout(dropout)

    def forward(self, x: Float[Tensor, "B L hidden"]) -> Float[Tensor, "B L hidden"]:
        """Apply to every position."""
        return self.down(self.dropout(linear_gelu(self.up, x)))


def linear_gelu(linear: nn.Linear, x: Float[Tensor, "*B i"]) -> Float[Tensor, "*B o"]:
    """`gelu(linear(x))`, the tanh approximation; with bfloat16 weights, without gradients, on a CPU that multiplies in
    bfloat16, by one kernel.
    """
    weight, bias = linear.weight, linear.bias
    joined = not torch.is_grad_enabled() and weight.dtype == torch.bfloat16 and _is_eager_cpu(x)
    if joined and quickest_dtype(x.device) == torch.bfloat16 and hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return torch.ops.mkldnn._linear_pointwise(x.to(weight.dtype), weight, bias, "gelu", [], "tanh")
    return F.gelu(linear(x), approximate="tanh")


def causal_mask(length: int, total: int, device: torch.device) -> Bool[Tensor, "length total"]:
    """True where one of the last `length` of `total` positions (rows) may see a position (columns)."""
    return torch.ones(length, total, dtype=torch.bool, device=device).tril(total - length)
