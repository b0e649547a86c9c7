"""`Decoding`: every option of sampling as one checked value, whoever gives it: model, protocol, command or caller."""

import math
from dataclasses import dataclass, fields, replace
from typing import Any

import torch

from magvit.decoding.guidance import guidance_weight
from magvit.decoding.orders import get_order
from magvit.tasks.schedule import mask_ratio
from magvit.typed_json import optional

OF_TOKENS = ("temperature", "top_k", "top_p")
"""Options of how a token is drawn; the others say when."""
MOST = 1_000_000
"""Of strengths and temperatures, with which float32 still works."""
MASK_MODES = ("trained", "latent_masking")


@dataclass(frozen=True)
class Decoding:
    """How tokens are drawn; the defaults are the paper's.

    Attributes:
        num_steps: passes of the transformer, from 1 to the number of tokens of a clip.
        mask_schedule: share of tokens left masked over the steps, see `magvit.tasks.schedule`.
        mask_temperature: randomness of the order in which tokens are fixed, annealed to 0; for order "confidence".
        temperature: randomness of the tokens themselves; 0 takes the likeliest.
        top_k: sample among so many of the likeliest tokens; 0 is off.
        top_p: sample among the likeliest tokens that make up this probability; 0 is off.
        guidance_scale: g of `logits + g * (logits - unconditional logits)`; 0 is off, as in the paper.
        guidance_schedule: share of `guidance_scale` over the steps, see `magvit.decoding.guidance`.
        order: which tokens are fixed first, see `magvit.decoding.orders`; "confidence" is the paper's.
        mask_mode: how the condition enters: as the model was "trained" to read it; or by "latent_masking" (Table 5; all
            that MaskGIT can do): the sequence begins as for generation from nothing, the condition's tokens are there
            from the start, and stay.
        stillness: of the frame tasks, how much is added to the logits of the tokens of what stands there if nothing
            happens, the last given frame or the blend of two: a model that is not sure leaves it as it is. Newer than
            the paper.

    Raises:
        ValueError: an option is outside its range; one sentence names it.
    """

    num_steps: int = optional(12)
    mask_schedule: str = optional("cosine")
    mask_temperature: float = optional(4.5)
    temperature: float = optional(1.0)
    top_k: int = optional(0)
    top_p: float = optional(0.0)
    guidance_scale: float = optional(0.0)
    guidance_schedule: str = optional("constant")
    order: str = optional("confidence")
    mask_mode: str = optional("trained")
    stillness: float = optional(0.0)

    def __post_init__(self) -> None:
        for name, least, most in (
            ("num_steps", 1, math.inf),
            ("mask_temperature", 0, MOST),
            ("temperature", 0, MOST),
            ("top_k", 0, math.inf),
            ("top_p", 0, 1),
            ("guidance_scale", 0, MOST),
            ("stillness", 0, MOST),
        ):
            value = getattr(self, name)
            if not (math.isfinite(value) and least <= value <= most):
                expected = f"{least} to {most:,}" if most < math.inf else f"a finite number of {least} or more"
                raise ValueError(f"{name} is {value}, expected {expected}")
        mask_ratio(self.mask_schedule, torch.zeros(()), 1)
        guidance_weight(self.guidance_schedule, 0.0)
        get_order(self.order)
        if self.mask_mode not in MASK_MODES:
            raise ValueError(f"mask_mode is {self.mask_mode!r}, expected one of {', '.join(MASK_MODES)}")

    def changed(self, **options: Any) -> "Decoding":
        """The same with some options changed; those that are None stay.

        Raises:
            TypeError: there is no such option.
            ValueError: as for a new one.
        """
        if unknown := options.keys() - {field.name for field in fields(self)}:
            names = ", ".join(field.name for field in fields(self))
            raise TypeError(f"unknown option {sorted(unknown)[0]!r}, expected some of {names}")
        return replace(self, **{name: value for name, value in options.items() if value is not None})

    def one_by_one(self, num_tokens: int) -> "Decoding":
        """An autoregressive model's: each token drawn in this way, but one after the other."""
        how = {name: getattr(self, name) for name in OF_TOKENS}
        return Decoding(num_tokens, mask_schedule="uniform", mask_temperature=0.0, order="raster", **how)

    def check(self, num_tokens: int) -> None:
        """ValueError if there are more steps than a clip has tokens."""
        if self.num_steps > num_tokens:
            raise ValueError(f"num_steps is {self.num_steps}, expected 1 to {num_tokens}, the tokens of a clip")
