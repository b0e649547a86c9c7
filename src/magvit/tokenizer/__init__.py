"""Stage 1: the video tokenizer and what it is trained with."""

from magvit.tokenizer.config import TokenizerConfig
from magvit.tokenizer.discriminator import Discriminator, DiscriminatorConfig
from magvit.tokenizer.inflation import inflate
from magvit.tokenizer.model import TokenizerOutput, VideoTokenizer

__all__ = ["Discriminator", "DiscriminatorConfig", "TokenizerConfig", "TokenizerOutput", "VideoTokenizer", "inflate"]
