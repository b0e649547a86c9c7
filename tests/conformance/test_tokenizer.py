"""The 3D and 2D tokenizers and inflation: `a_vq3d_*.npz`, `b_vq2d.npz`, `b_inflate_2d_to_3d.npz`."""

from dataclasses import replace

import pytest
import torch

from conformance.arrays import channels_first, channels_last, recorded_outputs, stats
from magvit.interop import official
from magvit.tokenizer import VideoTokenizer, inflate
from magvit.tokenizer.quantizer import squared_distances

PADDINGS = {"None": "zero", "reflect": "reflect"}


def check(ref, prefix, model, video):
    """With gradients, as in training, and without, where some steps are taken together."""
    with recorded_outputs(model) as outputs:
        output = model(video)
    for key in ref.keys(f"{prefix}/stats/*"):  # first: they show where two models begin to differ
        ref.compare(key, stats(channels_last(outputs[key.removeprefix(f"{prefix}/stats/")])))
    check_results(ref, prefix, model, output.latents.detach(), output.reconstruction.detach())
    with torch.no_grad():
        latents = model.encode_latents(video)
        check_results(ref, prefix, model, latents, model.decode_latents(model.quantizer(latents)[0]))


def check_results(ref, prefix, model, latents, reconstruction):
    quantized, tokens = model.quantizer(latents)
    ref.compare(f"{prefix}/encoder_output", channels_last(latents))
    ref.exact(f"{prefix}/indices", tokens)
    if f"{prefix}/quantized" in ref:
        ref.compare(f"{prefix}/quantized", channels_last(quantized.detach()))
    ref.compare(f"{prefix}/decoder_output", channels_last(reconstruction))

    vectors, codebook = model.quantizer.flat(latents)
    nearest = squared_distances(vectors.double(), codebook.double()).topk(2, largest=False).values
    ref.compare(f"{prefix}/argmin_margin", ((nearest[:, 1] - nearest[:, 0]) / nearest[:, 0].clamp_min(1e-3)).min())


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("name", ["a_vq3d_ucf.npz", "a_vq3d_bair.npz", "b_vq2d.npz"])
def test_tokenizer(reference, name, padding):
    ref = reference(name)
    params = ref.inputs("params/")
    model = official.tokenizer(params, official.infer_tokenizer_config(params, padding=PADDINGS[padding]))
    video = channels_first(ref.tensor("input"))
    check(ref, padding, model, video)
    if f"{padding}/short_T/encoder_output" in ref:
        output = model(video[:1, :, :4])
        ref.compare(f"{padding}/short_T/encoder_output", channels_last(output.latents))
        ref.compare(f"{padding}/short_T/decoder_output", channels_last(output.reconstruction))


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("mode", ["central", "average"])
def test_inflation(reference, mode, padding):
    params = reference("b_vq2d.npz").inputs("params/")
    ref = reference("b_inflate_2d_to_3d.npz")
    image_config = official.infer_tokenizer_config(params)
    config = replace(image_config, dims=3, padding=PADDINGS[padding], decoder_padding=None)
    model = VideoTokenizer(config).eval()
    inflate(official.tokenizer(params, image_config).state_dict(), model, mode)

    inflated = official.to_official(model)
    for key in ref.keys(f"{mode}/params/*"):
        ref.compare(key, inflated[key.removeprefix(f"{mode}/params/")], atol=1e-7)
    check(ref, f"{mode}/{padding}", model, channels_first(ref.tensor("input")))
