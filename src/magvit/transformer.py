"""Stage 2: the bidirectional transformer that predicts every token at once (paper section 3.2).

A post-norm BERT (official `simplified_bert.py`) over the sequence `[prefix tokens, latent tokens]`, with learned
positions and an output layer tied to the token table. It knows nothing of tasks or masks: ids in, logits over the whole
table out. All ids are positive (row `V + k` of the table stands for the official code's negative id `k`);
`magvit.tasks.vocab` lays them out.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from magvit.nn.attention import Dropout, Mlp, SelfAttention, TransformerSize, linear_gelu
from magvit.nn.modern import ModernLayer
from magvit.nn.rematerialize import recompute
from magvit.shapes import Grid
from magvit.typed_json import optional

NORM_EPS = 1e-12
MOST_ROTATIONS = 2**25


@dataclass(frozen=True, kw_only=True)
class TransformerConfig(TransformerSize):
    """What makes a `MaskedTransformer`: its size and the ids it reads.

    Dropout is on the embeddings, the output of each attention and MLP and, of bert layers, the attention weights.

    Attributes:
        vocab_size: rows `V` of the token table: codes, classes and special ids.
        max_length: longest sequence, prefix included.
        num_segments: rows of the segment table; 0 = no segment embedding, as in the released models.
        block: `bert` is the paper's; `modern` layers (see `magvit.nn.modern`) need `grid` in place of learned
            positions, and have an output layer of their own.
        grid: `(t, h, w)` of the latent tokens, which end the sequence.
        codebook: `(K, D)` of the tokenizer, for modern layers. The network then knows the vectors of the codes, the
            first K ids, and need not learn from scratch which are alike: they are a part of what it reads, and its
            output is compared with them.

    Raises:
        ValueError: if a size is not positive or the dropout is not in [0, 1), or `grid` does not fit.
    """

    vocab_size: int
    max_length: int
    num_segments: int = 0
    block: Literal["bert", "modern"] = optional("bert")
    grid: Grid | None = optional(None)
    codebook: tuple[int, int] | None = optional(None)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("vocab_size", 1), ("max_length", 1), ("num_segments", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least {least}")
        if (self.block == "modern") != (self.grid is not None):
            raise ValueError(f"grid is {self.grid}, expected one if and only if block is modern, which is {self.block}")
        if self.grid is not None and not 0 < math.prod(self.grid) <= self.max_length:
            raise ValueError(f"grid is {self.grid}, expected at most max_length {self.max_length} positions")
        if self.codebook is not None and (self.block != "modern" or not 0 < self.codebook[0] <= self.vocab_size):
            expected = f"expected none, or at most {self.vocab_size} codes of a modern transformer"
            raise ValueError(f"codebook is {self.codebook}, {expected}")
        table = self.max_length * (self.hidden_size // self.num_heads)  # of rotations, which no file tells
        if self.grid is not None and table > MOST_ROTATIONS:
            raise ValueError(
                f"max_length is {self.max_length}, expected at most {self.max_length * MOST_ROTATIONS // table}"
            )
        size = self.hidden_size // self.num_heads
        if self.grid is not None and (size % 2 or size < 6):
            raise ValueError(f"heads have {size} numbers, expected 6 or more, an even count: two for each axis")


class Layer(nn.Module):
    """Post-norm layer: h = LN(x + attention(x)), out = LN(h + mlp(h))."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.attention = SelfAttention(config.hidden_size, config.num_heads, config.dropout)
        self.attention_norm = nn.LayerNorm(config.hidden_size, eps=NORM_EPS)
        self.mlp = Mlp(config.hidden_size, config.mlp_size)
        self.mlp_norm = nn.LayerNorm(config.hidden_size, eps=NORM_EPS)
        self.dropout = Dropout(config.dropout)

    def forward(
        self, x: Float[Tensor, "B L hidden"], visible: Bool[Tensor, "B 1 1 L"] | None = None
    ) -> Float[Tensor, "B L hidden"]:
        """Apply the layer; every position sees every position, or all that are `visible`."""
        x = self.attention_norm(x + self.dropout(self.attention(x, visible)))
        return self.mlp_norm(x + self.dropout(self.mlp(x)))


class MaskedTransformer(nn.Module):
    """Bidirectional transformer: token ids `B L` to logits `B L V`.

    The first `rematerialize` layers are computed again in the backward pass.
    """

    rematerialize = 0
    codebook: Tensor

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        hidden_size = config.hidden_size
        self.token_embedding = nn.Embedding(config.vocab_size, hidden_size)
        modern = config.block == "modern"
        self.position_embedding = None if modern else nn.Embedding(config.max_length, hidden_size)
        self.segment_embedding = nn.Embedding(config.num_segments, hidden_size) if config.num_segments else None
        self.embedding_norm = nn.Identity() if modern else nn.LayerNorm(hidden_size, eps=NORM_EPS)
        self.dropout = Dropout(config.dropout)
        self.layers = nn.ModuleList(
            _modern_layer(config) if modern else Layer(config) for _ in range(config.num_layers)
        )
        if modern:
            self.head_norm: nn.Module = nn.RMSNorm(hidden_size)
            self.head_out = nn.Linear(hidden_size, config.vocab_size, bias=False)
            if config.codebook is not None:
                codes, size = config.codebook
                self.register_buffer("codebook", torch.zeros(codes, size))  # a copy of the tokenizer's
                self.code_in = nn.Linear(size, hidden_size, bias=False)
                self.code_out = nn.Linear(hidden_size, size, bias=False)
        else:
            self.head_dense = nn.Linear(hidden_size, hidden_size)
            self.head_norm = nn.LayerNorm(hidden_size, eps=NORM_EPS)
            self.head_bias = nn.Parameter(torch.zeros(config.vocab_size))
        self.apply(_init_weights)
        if modern:
            nn.init.zeros_(self.head_out.weight)
        if config.codebook is not None:
            nn.init.zeros_(self.code_out.weight)

    def forward(
        self,
        ids: Int[Tensor, "B L"],
        segment_ids: Int[Tensor, "B L"] | None = None,
        visible: Bool[Tensor, "B L"] | None = None,
    ) -> Float[Tensor, "B L V"]:
        """Predict every position from all positions.

        Args:
            ids: token ids in [0, V).
            segment_ids: in [0, num_segments); needed if and only if the model has a segment table.
            visible: False where no position may look: behind the end of a shorter sequence. None: everywhere.

        Raises:
            ValueError: if the sequence is longer than `max_length`, or segment ids are missing or not wanted.
        """
        x = self.embed(ids, segment_ids)
        mask = None if visible is None else visible[:, None, None, :]
        for i, layer in enumerate(self.layers):
            x = recompute(i < self.rematerialize, layer, x, mask)
        return self.head(x)

    def embed(self, ids: Int[Tensor, "B L"], segment_ids: Int[Tensor, "B L"] | None) -> Float[Tensor, "B L hidden"]:
        """LN(token + position [+ segment]); with modern layers, which know positions, token [+ segment]."""
        length = ids.shape[1]
        if length > self.config.max_length:
            raise ValueError(
                f"the sequence has {length} tokens, this transformer takes at most {self.config.max_length}"
            )
        if (segment_ids is None) != (self.segment_embedding is None):
            raise ValueError(
                f"segment_ids {'missing' if segment_ids is None else 'given'} for a transformer with "
                f"num_segments={self.config.num_segments}"
            )
        table = self.token_embedding.weight
        if self.config.codebook is not None:
            of_codes = self.code_in(self.codebook)
            table = table + F.pad(of_codes, (0, 0, 0, len(table) - len(of_codes)))
        x = F.embedding(ids, table)
        if self.position_embedding is not None:
            x = x + self.position_embedding.weight[:length]
        if self.segment_embedding is not None:
            x = x + self.segment_embedding(segment_ids)
        return self.dropout(self.embedding_norm(x))

    def head(self, x: Float[Tensor, "B L hidden"]) -> Float[Tensor, "B L V"]:
        """LN(gelu(dense(x))) against the token table, plus a bias per row; with modern layers, a linear map, and a
        vector against those of the codes.
        """
        if self.config.block == "modern":
            x = self.head_norm(x)
            logits = self.head_out(x)
            if self.config.codebook is not None:
                of_codes = F.linear(self.code_out(x), self.codebook)
                logits = logits + F.pad(of_codes, (0, logits.shape[-1] - len(self.codebook)))
            return logits
        x = self.head_norm(linear_gelu(self.head_dense, x))
        return F.linear(x, self.token_embedding.weight, self.head_bias)


def _modern_layer(config: TransformerConfig) -> ModernLayer:
    assert config.grid is not None
    sizes = config.hidden_size, config.num_heads, config.mlp_size, config.dropout
    return ModernLayer(*sizes, config.grid, config.max_length - math.prod(config.grid))


def _init_weights(module: nn.Module) -> None:
    """Weights and tables from a normal of 0.02 cut at two sigma, biases 0 (norms keep PyTorch's 1 and 0)."""
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.trunc_normal_(module.weight, std=0.02, a=-0.04, b=0.04)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
    if isinstance(module, ModernLayer):  # after its parts
        module.start_at_zero()
