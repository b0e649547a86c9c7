"""Decoding: from a network's predictions to a grid of tokens (paper section 3.3)."""

from magvit.decoding.algorithm import DecodingStep, Logits, LogitsFn, decode, guide
from magvit.decoding.options import OF_TOKENS, Decoding
from magvit.decoding.orders import ORDERS

__all__ = ["OF_TOKENS", "ORDERS", "Decoding", "DecodingStep", "Logits", "LogitsFn", "decode", "guide"]
