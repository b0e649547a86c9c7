"""ModelConfig: what a trained model is, as it stands in the `config.json` of its folder."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from magvit import hub
from magvit.tasks import MaskMode, Vocabulary
from magvit.tokenizer import TokenizerConfig
from magvit.transformer import TransformerConfig


@dataclass(frozen=True)
class ModelConfig:
    """`config.json` of a model folder.

    Attributes:
        format: version of this layout.
        tokenizer: stage 1.
        transformer, vocabulary: stage 2, both absent in a tokenizer-only folder.
        clip_shape: `(T, H, W)` of the clips the model works on.
        classes: class names in label order; empty for a model without classes.
        condition_frames: frames given at each end by the frame tasks.
        fps: frames per second at which results are written.
        mask_mode: how the transformer was trained to read a condition, see `magvit.tasks.commit`.

    Raises:
        ValueError: if the parts do not fit each other.
    """

    format: Literal[1]
    tokenizer: TokenizerConfig
    clip_shape: tuple[int, int, int]
    transformer: TransformerConfig | None = hub.optional(None)
    vocabulary: Vocabulary | None = hub.optional(None)
    classes: tuple[str, ...] = hub.optional(())
    condition_frames: int = hub.optional(1)
    fps: float = hub.optional(8.0)
    mask_mode: MaskMode = hub.optional("commit")

    def __post_init__(self) -> None:
        t, h, w = self.tokenizer.latent_shape(self.clip_shape)
        if self.transformer is not None and not 1 <= self.condition_frames < self.clip_shape[0]:
            raise ValueError(f"condition_frames is {self.condition_frames}, expected 1 to {self.clip_shape[0] - 1}")
        if not 0 < self.fps < math.inf:
            raise ValueError(f"fps is {self.fps}, expected a positive number")
        if (self.transformer is None) != (self.vocabulary is None):
            raise ValueError("transformer and vocabulary go together, but only one of them is there")
        if self.transformer is None or self.vocabulary is None:
            return
        if self.vocabulary.codebook_size != self.tokenizer.codebook_size:
            codes = f"{self.vocabulary.codebook_size} codes and the tokenizer {self.tokenizer.codebook_size}"
            raise ValueError(f"the vocabulary has {codes}")
        if self.vocabulary.size != self.transformer.vocab_size:
            raise ValueError(
                f"the vocabulary has {self.vocabulary.size} ids and the transformer {self.transformer.vocab_size}"
            )
        if len(self.classes) != self.vocabulary.num_classes:
            raise ValueError(f"there are {len(self.classes)} class names for {self.vocabulary.num_classes} classes")
        length = self.vocabulary.sequence_length(t * h * w, self.mask_mode == "prefix")
        if self.transformer.max_length < length:
            raise ValueError(
                f"clips make sequences of {length} tokens, the transformer takes {self.transformer.max_length}"
            )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str = hub.CONFIG) -> "ModelConfig":
        """Read JSON strictly; only fields with a default here may be absent. ValueError names `where` and the field."""
        return hub.config_from_dict(cls, values, where)

    def to_dict(self) -> dict[str, Any]:
        """For JSON; the parts that a tokenizer-only model lacks are left out."""
        return {name: value for name, value in asdict(self).items() if value is not None}
