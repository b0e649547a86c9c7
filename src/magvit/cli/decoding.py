"""The options of sampling, the same for every command that samples."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class DecodingOptions:
    """How tokens are drawn. What is not given is as the model's config says for the task."""

    num_steps: int | None = None
    """Decoding steps, from 1 to the number of tokens of a clip; 12 in the paper."""
    mask_schedule: str | None = None
    """Share of tokens left masked over the steps: cosine, uniform, pow2, log, exp, ..."""
    mask_temperature: float | None = None
    """Randomness of the order in which tokens are fixed; 4.5 in the paper."""
    temperature: float | None = None
    """Randomness of the tokens; 0 takes the likeliest."""
    top_k: int | None = None
    """Sample among the k likeliest tokens; 0 is off."""
    top_p: float | None = None
    """Sample among the likeliest tokens that make up this probability; 0 is off."""
    guidance_scale: float | None = None
    """Strength of classifier-free guidance; 0 is off, as in the paper."""
    guidance_schedule: str | None = None
    """Share of it over the steps: constant, linear, cosine, interval:0.2,0.8."""
    order: str | None = None
    """Which tokens are fixed first: confidence (the paper's), halton, random, raster."""
    mask_mode: Literal["trained", "latent_masking"] | None = None
    """How a condition enters: as in training, or its tokens simply stand there from the start (latent_masking, as in
    MaskGIT: the way for a model that learnt to generate from nothing, paper Table 5)."""
