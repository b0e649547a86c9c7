from dataclasses import replace

import pytest
import torch

from magvit.tokenizer import TokenizerConfig, VideoTokenizer
from magvit.tokenizer.linear_path import LinearPath

CONFIG = TokenizerConfig(
    base_channels=8,
    channel_multipliers=(1, 2),
    temporal_downsample=(True,),
    num_res_blocks=1,
    codebook_size=16,
    codebook_dim=12,
    norm_groups=2,
    haar=(1, 2, 2),
    linear_path=True,
)


def test_components_of_blocks_of_low_rank_are_found_and_give_the_clip_back():
    torch.manual_seed(0)
    basis, mean = torch.randn(4, 96), torch.rand(96)
    path = LinearPath((2, 4, 4), 4)
    blocks = torch.randn(6, 3, 2, 2, 4) @ basis + mean
    videos = blocks.view(6, 3, 2, 2, 3, 2, 4, 4).permute(0, 4, 1, 5, 2, 6, 3, 7).reshape(6, 3, 6, 8, 8)
    path.fit(video[None] for video in videos)
    latents = path.encode(videos)
    assert latents.shape == (6, 4, 3, 2, 2)
    torch.testing.assert_close(path.decode(latents), videos, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(path.components @ path.components.T, torch.eye(4), atol=1e-5, rtol=0)
    assert float(latents.var(dim=(0, 2, 3, 4)).mean()) == pytest.approx(1, abs=0.05)
    assert float(latents.mean(dim=(0, 2, 3, 4)).abs().max()) < 1e-3


def test_a_new_tokenizer_is_its_linear_path_and_learns_around_it():
    torch.manual_seed(0)
    tokenizer, video = VideoTokenizer(CONFIG), torch.rand(4, 3, 4, 8, 8)
    assert tokenizer.linear_path is not None
    tokenizer.linear_path.fit([video])
    assert tokenizer.config.strides == (2, 4, 4)
    latents = tokenizer.encode_latents(video)
    torch.testing.assert_close(latents, tokenizer.linear_path.encode(video))
    torch.testing.assert_close(tokenizer.decode_latents(latents), tokenizer.linear_path.decode(latents))
    kept = tokenizer.linear_path.components.clone()
    optimizer = torch.optim.Adam(tokenizer.parameters(), 2e-3)
    losses = []
    for _ in range(40):
        loss = (tokenizer(video, quantize=False).reconstruction - video).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    assert torch.equal(tokenizer.linear_path.components, kept)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"haar": (1, 3, 2)}, r"haar is \(1, 3, 2\), expected three powers of two"),
        ({"haar": (0, 1, 1)}, "powers of two"),
        ({"dims": 2, "haar": (2, 2, 2)}, r"haar is \(2, 2, 2\), expected blocks of one frame where dims is 2"),
    ],
)
def test_impossible_stems_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **change)


def test_a_2d_tokenizer_sees_the_coefficients_of_each_frame_by_itself():
    tokenizer = VideoTokenizer(replace(CONFIG, dims=2, haar=(1, 2, 2))).eval()
    video = torch.rand(1, 3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert tokenizer.linear_path is not None
    tokenizer.linear_path.fit([video])
    for conv in (tokenizer.encoder.conv_out, tokenizer.decoder.conv_out):
        torch.nn.init.normal_(conv.weight, std=0.1)
    together = tokenizer(video, quantize=False).reconstruction
    for frame in range(3):
        alone = tokenizer(video[:, :, frame : frame + 1], quantize=False).reconstruction
        torch.testing.assert_close(together[:, :, frame : frame + 1], alone)


def test_more_components_than_pixels_are_refused():
    with pytest.raises(ValueError, match="codebook_dim is 13, expected at most the 12 numbers of a block"):
        LinearPath((1, 2, 2), 13)
