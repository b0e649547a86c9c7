"""`magvit convert official`: parameters of the official Flax code become a model folder."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from magvit.cli.shell import check_folder

if TYPE_CHECKING:
    from magvit.autoregressive import AutoregressiveConfig
    from magvit.generator_config import AutoregressiveGenerator
    from magvit.tasks import Vocabulary
    from magvit.transformer import TransformerConfig


@dataclass(frozen=True)
class Official:
    """Make a model folder of official (Flax) checkpoints.

    For example

        magvit convert official vqgan.npz models/3dvq-b-ucf101
        magvit convert official vqgan.npz models/magvit-b-cg-ucf101 --transformer maskgvt.npz
    """

    checkpoint: Annotated[Positional[Path], arg(metavar="CHECKPOINT")]
    """Parameters of the tokenizer: .npz or Flax msgpack, see magvit.interop.checkpoint."""
    output_dir: Annotated[Positional[Path], arg(metavar="OUTPUT")]
    """Model folder to write."""
    transformer: Path | None = None
    """Parameters of the transformer trained on its tokens, masked or autoregressive; without them the folder holds a
    tokenizer only."""
    clip_shape: tuple[int, int, int] = (16, 128, 128)
    """Frames, height and width of the clips the model was trained on."""
    condition_frames: int = 1
    """Frames given at each end by the frame tasks."""
    fps: float = 25.0
    """Frames per second at which results will be written."""

    def run(self) -> None:
        """Convert and write."""
        check_folder(self.output_dir)
        from magvit.generation import Transformer
        from magvit.generator_config import AutoregressiveGenerator, MaskedGenerator
        from magvit.interop import official
        from magvit.interop.checkpoint import load_checkpoint
        from magvit.model_config import ModelConfig
        from magvit.pipeline import MagvitPipeline

        params = load_checkpoint(self.checkpoint)
        _check_kind(official.network_kind(params), "tokenizer", self.checkpoint)
        tokenizer_config = official.infer_tokenizer_config(params)
        tokenizer = official.tokenizer(params, tokenizer_config)
        transformer: Transformer | None = None
        generator: MaskedGenerator | AutoregressiveGenerator | None = None
        if self.transformer is not None:
            params = load_checkpoint(self.transformer)
            kind = official.network_kind(params)
            num_tokens = math.prod(tokenizer_config.latent_shape(self.clip_shape))
            if kind == "autoregressive":
                causal_config = official.infer_autoregressive_config(params)
                generator = _autoregressive(causal_config, tokenizer_config.codebook_size, num_tokens)
                transformer = official.autoregressive(params, causal_config)
            else:
                _check_kind(kind, "transformer", self.transformer)
                transformer_config = official.infer_transformer_config(params)
                vocabulary = _vocabulary(transformer_config, tokenizer_config.codebook_size, num_tokens)
                generator = MaskedGenerator(transformer=transformer_config, vocabulary=vocabulary)
                transformer = official.transformer(params, transformer_config)
        config = ModelConfig(
            tokenizer=tokenizer_config,
            clip_shape=self.clip_shape,
            generator=generator,
            classes=tuple(map(str, range(generator.vocabulary.num_classes))) if generator else (),
            condition_frames=self.condition_frames,
            fps=self.fps,
        )
        MagvitPipeline(config, tokenizer, transformer).save_pretrained(self.output_dir)
        print(f"wrote {self.output_dir}")


def _check_kind(kind: str, wanted: str, path: Path) -> None:
    if kind != wanted:
        raise ValueError(f"{path} holds the parameters of a {kind}, expected a {wanted}")


def _vocabulary(config: "TransformerConfig", codebook_size: int, num_tokens: int) -> "Vocabulary":
    """The id layout, which the sizes show: a sequence with two prefix tokens is a multi-task model's."""
    from magvit.tasks import Vocabulary

    prefix_length = config.max_length - num_tokens
    if prefix_length not in (1, 2):
        raise ValueError(
            f"the transformer takes {config.max_length} tokens and a clip makes {num_tokens}, "
            "expected 1 or 2 more than that: is clip_shape right?"
        )
    num_special = 16 if prefix_length == 2 else 1
    num_classes = config.vocab_size - codebook_size - 1 - num_special
    return Vocabulary(codebook_size, num_classes, num_special, separate_inpainting_token=False)


def _autoregressive(config: "AutoregressiveConfig", codebook_size: int, num_tokens: int) -> "AutoregressiveGenerator":
    """What the sizes show: a single task, with a condition if sequences are longer than the class and a clip."""
    from magvit.decoding import Decoding
    from magvit.generator_config import AutoregressiveGenerator
    from magvit.tasks import Vocabulary

    return AutoregressiveGenerator(
        transformer=config,
        vocabulary=Vocabulary(codebook_size, config.vocab_size - codebook_size - 2, num_special=1),
        mask_mode="prefix" if config.max_length > 1 + num_tokens else "commit",
        decoding=Decoding().one_by_one(num_tokens),
    )
