"""The autoregressive baseline (official `transformer_lm.py`): a pre-norm causal decoder over the same tokens.

The sequence is `[BOS, class, latent tokens]`, or with a condition `[BOS, class, condition tokens, SEP, latent tokens]`
(`magvit.tasks.sequence`); the model reads it without its last token and predicts it without BOS. Ids are positive: BOS
is the last row of the table, `V - 1` (the official id -1).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from magvit.nn.attention import Dropout, KeyValueCache, Mlp, SelfAttention, TransformerSize, causal_mask
from magvit.nn.rematerialize import recompute
from magvit.nn.sampling import sample_tokens

NORM_EPS = 1e-6
HIDDEN_SCORE = -1e30  # finite: a row that sees nothing becomes a uniform average, as in the official code, not NaN


@dataclass(frozen=True, kw_only=True)
class AutoregressiveConfig(TransformerSize):
    """What makes an `AutoregressiveTransformer`: its size and the ids it reads.

    Dropout is on the embeddings, the attention weights, inside the MLPs and on the output of each part.

    Attributes:
        vocab_size: rows `V` of the token table and of the output.
        max_length: longest sequence.

    Raises:
        ValueError: if a size is not positive or the dropout is not in [0, 1).
    """

    vocab_size: int
    max_length: int

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("vocab_size", "max_length"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")


class Layer(nn.Module):
    """Pre-norm layer: h = x + attention(LN(x)), out = h + mlp(LN(h)); the attention has no biases."""

    def __init__(self, config: AutoregressiveConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.hidden_size, eps=NORM_EPS)
        self.attention = SelfAttention(config.hidden_size, config.num_heads, config.dropout, bias=False)
        self.mlp_norm = nn.LayerNorm(config.hidden_size, eps=NORM_EPS)
        self.mlp = Mlp(config.hidden_size, config.mlp_size, config.dropout)
        self.dropout = Dropout(config.dropout)

    def forward(
        self,
        x: Float[Tensor, "B L hidden"],
        mask: Tensor | None = None,
        is_causal: bool = False,
        cache: KeyValueCache | None = None,
    ) -> Float[Tensor, "B L hidden"]:
        """Apply the layer; the mask and the cache are those of `SelfAttention`."""
        x = x + self.dropout(self.attention(self.attention_norm(x), mask, is_causal, cache))
        return x + self.dropout(self.mlp(self.mlp_norm(x)))


class AutoregressiveTransformer(nn.Module):
    """Causal transformer: ids `B L` to logits `B L V` of the token that follows each position.

    The first `rematerialize` layers are computed again in the backward pass.
    """

    rematerialize = 0

    def __init__(self, config: AutoregressiveConfig) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.hidden_size)
        self.position_embedding = nn.Embedding(config.max_length, config.hidden_size)
        self.dropout = Dropout(config.dropout)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_layers))
        self.norm_out = nn.LayerNorm(config.hidden_size, eps=NORM_EPS)
        self.head = nn.Linear(config.hidden_size, config.vocab_size)
        self._init_weights()

    def forward(self, ids: Int[Tensor, "B L"], padding: Bool[Tensor, "B L"] | None = None) -> Float[Tensor, "B L V"]:
        """Teacher forcing: predict every next token from the tokens up to it.

        Args:
            ids: token ids in [0, V).
            padding: positions that neither see nor are seen. None: plain causal attention, which agrees with `step`.
                The official trainer hides every id that is 0 or less in its numbering, so BOS and also code 0, while
                its sampling sees them: `(ids == 0) | (ids == V - 1)` reproduces that.

        Raises:
            ValueError: if the sequence is longer than `max_length`.
        """
        x = self._embed(ids, start=0)
        mask = None if padding is None else _visible(padding, x.dtype)
        for i, layer in enumerate(self.layers):
            x = recompute(i < self.rematerialize, layer, x, mask, mask is None)
        return self.head(self.norm_out(x))

    def new_cache(self) -> list[KeyValueCache]:
        """An empty cache, one entry a layer, for `step`."""
        return [KeyValueCache(self.config.max_length) for _ in self.layers]

    @torch.no_grad()
    def step(self, ids: Int[Tensor, "B L"], cache: list[KeyValueCache]) -> Float[Tensor, "B L V"]:
        """Like `forward` for the next `L` tokens of a sequence whose earlier tokens are in `cache`; adds them to it.

        Raises:
            ValueError: if the sequence would grow longer than `max_length`.
        """
        start, length = cache[0].length, ids.shape[1]
        x = self._embed(ids, start)
        mask = causal_mask(length, start + length, x.device) if length > 1 else None
        for layer, layer_cache in zip(self.layers, cache, strict=True):
            x = layer(x, mask, cache=layer_cache)
        return self.head(self.norm_out(x))

    @torch.no_grad()
    def generate(
        self,
        prefix: Int[Tensor, "B P"],
        num_tokens: int,
        codebook_size: int,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 0.0,
        generators: Sequence[torch.Generator] | None = None,
    ) -> Int[Tensor, "B n"]:
        """Draw `num_tokens` latent tokens, one after the other, behind `prefix`.

        Only the first `codebook_size` logits are sampled from (the official code pushes the others to -1000). Call
        `eval()` first to switch dropout off.

        Args:
            prefix: the tokens given, at least one: BOS and all that stands before the latent tokens.
            num_tokens: tokens to draw.
            codebook_size: ids below it are codes.
            temperature: 0 takes the most likely token and needs no generators.
            top_k: draw among the most likely `top_k`; 0 = all.
            top_p: draw among the most likely that together reach this probability; 0 = all.
            generators: one per sample: the same seed gives the same tokens whatever the batch.

        Raises:
            ValueError: for an empty prefix, sequences longer than `max_length`, and bad sampling values.
        """
        if num_tokens < 1 or prefix.shape[1] < 1:
            raise ValueError(f"a prefix of {prefix.shape[1]} and {num_tokens} new tokens, expected at least 1 of each")
        if prefix.shape[1] + num_tokens - 1 > self.config.max_length:
            raise ValueError(
                f"a prefix of {prefix.shape[1]} and {num_tokens} new tokens do not fit into "
                f"{self.config.max_length} positions"
            )
        cache, ids, drawn = self.new_cache(), prefix, []
        for _ in range(num_tokens):
            logits = self.step(ids, cache)[:, -1, :codebook_size]
            ids = sample_tokens(logits, temperature, top_k, top_p, generators)[:, None]
            drawn.append(ids)
        return torch.cat(drawn, dim=1)

    def _embed(self, ids: Int[Tensor, "B L"], start: int) -> Float[Tensor, "B L hidden"]:
        end = start + ids.shape[1]
        if end > self.config.max_length:
            raise ValueError(f"the sequence has {end} tokens, this transformer takes at most {self.config.max_length}")
        return self.dropout(self.token_embedding(ids)) + self.position_embedding.weight[start:end]

    def _init_weights(self) -> None:
        """Official initialisers: tables normal, attention and MLP kernels Xavier uniform, biases 0."""
        std = self.config.hidden_size**-0.5
        nn.init.normal_(self.token_embedding.weight, std=std)
        nn.init.normal_(self.position_embedding.weight, std=0.02)
        nn.init.normal_(self.head.weight, std=std)
        nn.init.zeros_(self.head.bias)
        for layer in self.modules():
            if not isinstance(layer, Layer):
                continue
            for weight in (*layer.attention.qkv.weight.chunk(3), layer.attention.out.weight):
                nn.init.xavier_uniform_(weight)
            for linear in (layer.mlp.up, layer.mlp.down):
                nn.init.xavier_uniform_(linear.weight)
                nn.init.zeros_(linear.bias)


def _visible(padding: Bool[Tensor, "B L"], dtype: torch.dtype) -> Float[Tensor, "B 1 L L"]:
    """Scores to add: 0 where a position sees another (both real, the other not later), else `HIDDEN_SCORE`."""
    length = padding.shape[1]
    hidden = padding[:, None, :] | padding[:, :, None] | ~causal_mask(length, length, padding.device)
    return torch.zeros(hidden.shape, dtype=dtype, device=hidden.device).masked_fill(hidden, HIDDEN_SCORE)[:, None]
