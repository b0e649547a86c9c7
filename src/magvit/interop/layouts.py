"""Where the official code keeps each of our parameters: the one mapping behind both directions of `official.py`.

Flax numbers sub-modules in the order in which they are made: `module_paths` says which of our modules is which, and
`LAYOUTS` how the parameters of each kind of module are stored. `parameters` puts the two together.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from magvit.autoregressive import AutoregressiveTransformer
from magvit.nn.attention import SelfAttention
from magvit.nn.conv import Conv, GroupNorm
from magvit.perceptual.resnet import FrozenBatchNorm, ResNet50
from magvit.tokenizer import Discriminator, VideoTokenizer
from magvit.tokenizer.quantizer import Quantizer
from magvit.transformer import MaskedTransformer


class Layout(NamedTuple):
    """One parameter of ours and where the official code keeps it."""

    ours: str
    theirs: tuple[str, ...]
    to_ours: Callable[[list[Tensor]], Tensor]
    to_official: Callable[[Tensor, Any], list[Tensor]]  # of our tensor and the module it belongs to


def _same(ours: str, theirs: str) -> Layout:
    return Layout(ours, (theirs,), lambda tensors: tensors[0], lambda tensor, _: [tensor])


def _kernel(ours: str, theirs: str) -> Layout:
    """Convolution and dense kernels: `[*size, in, out]` there, `[out, in, *size]` here."""
    return Layout(
        ours,
        (theirs,),
        lambda tensors: tensors[0].movedim((-1, -2), (0, 1)),
        lambda tensor, _: [tensor.movedim((0, 1), (-1, -2))],
    )


def _split_heads(weight: Tensor, attention: SelfAttention) -> Tensor:
    """`[heads * size, in] -> [in, heads, size]`."""
    return weight.T.unflatten(1, (attention.num_heads, -1))


QKV = ("query", "key", "value")

LAYOUTS: dict[type[nn.Module], tuple[Layout, ...]] = {
    Conv: (_kernel("weight", "kernel"), _same("bias", "bias")),
    nn.Conv2d: (_kernel("weight", "kernel"), _same("bias", "bias")),
    nn.Linear: (_kernel("weight", "kernel"), _same("bias", "bias")),
    GroupNorm: (_same("weight", "scale"), _same("bias", "bias")),
    nn.LayerNorm: (_same("weight", "scale"), _same("bias", "bias")),
    FrozenBatchNorm: (
        _same("weight", "scale"),
        _same("bias", "bias"),
        _same("running_mean", "mean"),
        _same("running_var", "var"),
    ),
    nn.Embedding: (_same("weight", "embedding"),),
    Quantizer: (_same("codebook", "codebook"),),
    SelfAttention: (
        Layout(
            "qkv.weight",
            tuple(f"{part}/kernel" for part in QKV),
            lambda tensors: torch.cat([tensor.flatten(1).T for tensor in tensors]),
            lambda tensor, attention: [_split_heads(part, attention) for part in tensor.chunk(3)],
        ),
        Layout(
            "qkv.bias",
            tuple(f"{part}/bias" for part in QKV),
            lambda tensors: torch.cat([tensor.flatten() for tensor in tensors]),
            lambda tensor, attention: [part.unflatten(0, (attention.num_heads, -1)) for part in tensor.chunk(3)],
        ),
        Layout(
            "out.weight",
            ("out/kernel",),
            lambda tensors: tensors[0].flatten(0, 1).T,
            lambda tensor, attention: [tensor.T.unflatten(0, (attention.num_heads, -1))],
        ),
        _same("out.bias", "out/bias"),
    ),
    MaskedTransformer: (_same("head_bias", "BertMlmLayer_0/mlm_bias/bias"),),
    AutoregressiveTransformer: (
        Layout(
            "position_embedding.weight",
            ("PositionEmbeddings_0/embed_pos",),
            lambda tensors: tensors[0][0],
            lambda tensor, _: [tensor[None]],
        ),
    ),
}


def module_paths(module: nn.Module) -> dict[str, str]:
    """Official path of each of our sub-modules: `{"encoder.conv_in": "encoder/Conv_0", ...}`.

    Raises:
        ValueError: if the module has no official counterpart.
    """
    for kind, names in _NAMES.items():
        if isinstance(module, kind):
            return dict(names(module))
    raise ValueError(f"{type(module).__name__} has no official counterpart")


def _res_blocks(names: list[str], path: str, model: nn.Module) -> Iterator[tuple[str, str]]:
    parts = {"norm1": "GroupNorm_0", "conv1": "Conv_0", "norm2": "GroupNorm_1", "conv2": "Conv_1", "shortcut": "Conv_2"}
    for i, name in enumerate(names):
        yield name, f"{path}/ResBlock_{i}"
        for ours, theirs in parts.items():
            if not isinstance(model.get_submodule(f"{name}.{ours}"), nn.Identity):
                yield f"{name}.{ours}", f"{path}/ResBlock_{i}/{theirs}"


def _tokenizer_names(model: VideoTokenizer) -> Iterator[tuple[str, str]]:
    levels, blocks = range(len(model.config.channel_multipliers)), range(model.config.num_res_blocks)
    for part in ("encoder", "quantizer", "decoder"):
        yield part, part
    for part, last_conv in (("encoder", 1), ("decoder", len(levels))):
        yield f"{part}.conv_in", f"{part}/Conv_0"
        yield f"{part}.norm_out", f"{part}/GroupNorm_0"
        yield f"{part}.conv_out", f"{part}/Conv_{last_conv}"
        inner = [f"{part}.levels.{i}.{j}" for i in levels for j in blocks]
        middle = [f"{part}.middle.{j}" for j in blocks]
        yield from _res_blocks(inner + middle if part == "encoder" else middle + inner, part, model)
    for i in levels[:-1]:
        yield f"decoder.upsample_convs.{i}", f"decoder/Conv_{i + 1}"


def _discriminator_names(model: Discriminator) -> Iterator[tuple[str, str]]:
    yield from {"conv_in": "Conv_0", "conv_out": "Conv_1", "dense": "Dense_0", "head": "Dense_1"}.items()
    for i in range(len(model.blocks)):
        for ours, theirs in (("conv1", "Conv_0"), ("shortcut", "Conv_1"), ("conv2", "Conv_2")):
            yield f"blocks.{i}.{ours}", f"ResBlock_{i}/{theirs}"


def _transformer_names(model: MaskedTransformer) -> Iterator[tuple[str, str]]:
    yield "", ""
    yield "token_embedding", "BertEmbed_0/word_embeddings"
    yield "position_embedding", "BertEmbed_0/position_embeddings"
    if model.segment_embedding is not None:
        yield "segment_embedding", "BertEmbed_0/segment_embeddings"
    yield "embedding_norm", "BertEmbed_0/embeddings_ln"
    for i in range(len(model.layers)):
        yield f"layers.{i}", f"BertLayer_{i}"
        yield f"layers.{i}.attention", f"BertLayer_{i}/BertAttention_0/self_attention"
        yield f"layers.{i}.attention_norm", f"BertLayer_{i}/BertAttention_0/attention_output_ln"
        yield f"layers.{i}.mlp.up", f"BertLayer_{i}/BertMlp_0/intermediate_output"
        yield f"layers.{i}.mlp.down", f"BertLayer_{i}/BertMlp_0/layer_output"
        yield f"layers.{i}.mlp_norm", f"BertLayer_{i}/BertMlp_0/layer_output_ln"
    yield "head_dense", "BertMlmLayer_0/mlm_dense"
    yield "head_norm", "BertMlmLayer_0/mlm_ln"


def _autoregressive_names(model: AutoregressiveTransformer) -> Iterator[tuple[str, str]]:
    yield "", ""
    yield "token_embedding", "Embed_0"
    for i in range(len(model.layers)):
        yield f"layers.{i}", f"VTNLayer_{i}"
        yield f"layers.{i}.attention_norm", f"VTNLayer_{i}/LayerNorm_0"
        yield f"layers.{i}.attention", f"VTNLayer_{i}/SelfAttention_0"
        yield f"layers.{i}.mlp_norm", f"VTNLayer_{i}/LayerNorm_1"
        yield f"layers.{i}.mlp.up", f"VTNLayer_{i}/MlpBlock_0/Dense_0"
        yield f"layers.{i}.mlp.down", f"VTNLayer_{i}/MlpBlock_0/Dense_1"
    yield "norm_out", "decoder_out_ln"
    yield "head", "logits_dense"


def _resnet_names(model: ResNet50) -> Iterator[tuple[str, str]]:
    yield from {"conv1": "init_conv", "bn1": "init_bn", "fc": "head"}.items()
    parts = {f"{part}{i}": f"{part}{i}" for part in ("conv", "bn") for i in (1, 2, 3)}
    parts |= {"downsample.0": "proj_conv", "downsample.1": "proj_bn"}
    for stage in range(1, 5):
        for name, block in model.get_submodule(f"layer{stage}").named_children():
            for ours, theirs in parts.items():
                if ours in dict(block.named_modules()):
                    yield f"layer{stage}.{name}.{ours}", f"stage{stage}/block{int(name) + 1}/{theirs}"


_NAMES: dict[type[nn.Module], Callable[[Any], Iterator[tuple[str, str]]]] = {
    VideoTokenizer: _tokenizer_names,
    Discriminator: _discriminator_names,
    MaskedTransformer: _transformer_names,
    AutoregressiveTransformer: _autoregressive_names,
    ResNet50: _resnet_names,
}


def parameters(model: nn.Module) -> Iterator[tuple[str, tuple[str, ...], Layout, nn.Module]]:
    """(our name, official names, layout, owning module) of every parameter of `model`."""
    present = model.state_dict().keys()
    for ours, theirs in module_paths(model).items():
        owner = model.get_submodule(ours)
        for layout in LAYOUTS.get(type(owner), ()):
            name = f"{ours}.{layout.ours}".removeprefix(".")
            if name in present:
                yield name, tuple(f"{theirs}/{part}".removeprefix("/") for part in layout.theirs), layout, owner
