"""The named sizes are those of the official models (parameter counts from their code, by `jax.eval_shape`)."""

import pytest
import torch

from magvit.presets import DISCRIMINATORS, TOKENIZERS, TRANSFORMERS
from magvit.tokenizer import Discriminator, VideoTokenizer

CLIP_SHAPES = {name: (16, 64, 64) if name.endswith("-64") else (16, 128, 128) for name in TOKENIZERS}


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("name", "encoder", "decoder", "generator", "discriminator"),
    [
        ("2dvq-b", 5_792_320, 7_755_203, 13_809_667, 5_972_545),
        ("2dvq-l", 23_020_416, 29_821_827, 53_104_387, 23_880_833),
        ("3dvq-b", 17_149_888, 23_167_811, 40_579_843, 15_339_457),
        ("3dvq-l", 68_443_776, 89_106_051, 157_811_971, 61_341_569),
        ("3dvq-b-64", 15_379_392, 20_954_819, 36_596_355, 11_734_465),
        ("3dvq-l-64", 61_363_840, 80_256_387, 141_882_371, 46_922_625),
    ],
)
def test_parameter_counts_of_the_official_models(name, encoder, decoder, generator, discriminator):
    with torch.device("meta"):
        tokenizer, judge = VideoTokenizer(TOKENIZERS[name]), Discriminator(DISCRIMINATORS[name])
    assert (count(tokenizer.encoder), count(tokenizer.decoder)) == (encoder, decoder)
    assert tokenizer.quantizer.codebook.shape == (1024, 256)
    assert count(tokenizer) == generator
    assert count(judge) == discriminator


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_tokenizer_and_its_discriminator_take_the_same_clips(name):
    tokenizer, discriminator = TOKENIZERS[name], DISCRIMINATORS[name]
    clip_shape = CLIP_SHAPES[name]
    assert discriminator.clip_shape == clip_shape
    assert (discriminator.dims, discriminator.base_channels) == (tokenizer.dims, tokenizer.base_channels)
    time = 4 if tokenizer.dims == 3 else 16
    assert tokenizer.latent_shape(clip_shape) == (time, 16, 16)
    with torch.device("meta"):
        video = torch.empty(1, 3, *clip_shape)
        assert Discriminator(discriminator)(video).shape == (1, 1 if tokenizer.dims == 3 else 16)


@pytest.mark.parametrize("name", [name for name in TOKENIZERS if name.startswith("2d")])
def test_every_2d_size_inflates_into_its_3d_namesake(name):
    sibling = name.replace("2d", "3d")
    with torch.device("meta"):
        for kind, sizes in ((VideoTokenizer, TOKENIZERS), (Discriminator, DISCRIMINATORS)):
            image, video = kind(sizes[name]).state_dict(), kind(sizes[sibling]).state_dict()
            assert image.keys() == video.keys()
            for key, tensor in video.items():
                flat = tensor[:, :, 0] if tensor.ndim == 5 else tensor
                assert image[key].shape == flat.shape, key


def test_padding_is_the_papers():
    assert {config.padding for config in TOKENIZERS.values()} == {"reflect"}
    assert {config.padding for config in DISCRIMINATORS.values()} == {"zero"}


def test_transformer_sizes_divide_into_heads_of_64_to_80():
    assert {size.hidden_size / size.num_heads for size in TRANSFORMERS.values()} == {64.0, 80.0}
    assert all(size.mlp_size == 4 * size.hidden_size for size in TRANSFORMERS.values())
