"""What a transformer reads, written once for training and sampling (paper section 3.2):

    [task, class, condition prefix, latent tokens]

The task token is left out in a single-task model. The condition prefix is there in mask mode "prefix" alone, the
alternative of the paper's Table 5 and the only way of an autoregressive model: the condition's tokens, only those that
are given, row-major with time slowest, and `SEP`. A 16x64x64 clip of BAIR then makes 1,024 latent tokens and up to 768
condition tokens. An autoregressive model reads all this behind a start symbol, see `shift_right`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int, Shaped
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from magvit.shapes import TokenMask, Tokens
from magvit.tasks.commit import MaskMode
from magvit.tasks.vocab import TaskFamily, Vocabulary


@dataclass(frozen=True)
class SequenceLayout:
    """A batch of sequences whose latent tokens are still to be filled in.

    Attributes:
        ids: everything else; `[MASK]` where latent tokens will stand, `PAD` behind a sequence shorter than others.
        latents: where the latent tokens stand.
        visible: False behind the end of a shorter sequence, which no position may see; None if all are equally long.
    """

    ids: Int[Tensor, "B L"]
    latents: Int[Tensor, "B N"]
    visible: Bool[Tensor, "B L"] | None

    def fill(self, grid: Tokens) -> Int[Tensor, "B L"]:
        """The sequences with these latent tokens."""
        return self.ids.scatter(1, self.latents, grid.flatten(1).to(self.ids.dtype))

    def segments(self, grid: Tokens) -> Int[Tensor, "B L"]:
        """Segment ids of the latent tokens, and 0 elsewhere."""
        return torch.zeros_like(self.ids).scatter(1, self.latents, grid.flatten(1).to(self.ids.dtype))

    def of_latents(self, values: Shaped[Tensor, "B L V"]) -> Shaped[Tensor, "B N V"]:
        """The rows of the latent tokens."""
        if self.visible is None:  # they all end the sequence, so that nothing need be copied
            return values[:, -self.latents.shape[1] :]
        return values.gather(1, self.latents[:, :, None].expand(-1, -1, values.shape[2]))


def lay_out(
    vocabulary: Vocabulary,
    families: Sequence[TaskFamily],
    labels: Sequence[int | None],
    cond_tokens: Tokens,
    cond_token_mask: TokenMask,
    mask_mode: MaskMode = "commit",
) -> SequenceLayout:
    """The sequences of a batch, one for each family of tasks and label; None is the unconditional class.

    Args:
        vocabulary: ids.
        families: select the task tokens.
        labels: class numbers.
        cond_tokens: tokens of the condition video; shown here in mask mode "prefix" only.
        cond_token_mask: where they are given.
        mask_mode: how the condition enters, see `magvit.tasks.commit`.

    Raises:
        ValueError: a label is outside `[0, num_classes)`.
    """
    device, count = cond_tokens.device, cond_tokens[0].numel()
    heads = torch.stack([vocabulary.prefix(*pair) for pair in zip(families, labels, strict=True)])
    heads = heads.to(device, non_blocking=True)
    unknown = heads.new_full((len(heads), count), vocabulary.mask_token_id)
    places = torch.arange(count, device=device)
    if mask_mode != "prefix":
        return SequenceLayout(torch.cat([heads, unknown], 1), (heads.shape[1] + places).expand_as(unknown), None)
    separator = heads.new_full((1,), vocabulary.sep_token_id)
    shown = [tokens[given].to(heads.dtype) for tokens, given in zip(cond_tokens, cond_token_mask, strict=True)]
    rows = [torch.cat([heads[i], shown[i], separator, unknown[i]]) for i in range(len(heads))]
    ids = pad_sequence(rows, batch_first=True, padding_value=vocabulary.pad_token_id)
    ends = torch.tensor([len(row) for row in rows], device=device)[:, None]
    visible = torch.arange(ids.shape[1], device=device) < ends
    return SequenceLayout(ids, ends - count + places, None if len({len(row) for row in rows}) == 1 else visible)


def sequence_length(vocabulary: Vocabulary, num_tokens: int, mask_mode: MaskMode, num_given: int = 0) -> int:
    """Positions of a sequence around a grid of `num_tokens`, of which the condition gives `num_given`."""
    return vocabulary.prefix_length + num_tokens + (num_given + 1 if mask_mode == "prefix" else 0)


def shift_right(vocabulary: Vocabulary, ids: Int[Tensor, "B L"]) -> Int[Tensor, "B L"]:
    """Inputs of the autoregressive baseline: the target `ids` behind a start symbol, without the last one."""
    return torch.cat([ids.new_full((len(ids), 1), vocabulary.mask_token_id), ids[:, :-1]], dim=1)
