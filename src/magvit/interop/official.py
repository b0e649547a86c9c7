"""Official (Flax) parameters to our networks and back.

The official parameters are a flat dict `{"encoder/Conv_0/kernel": array, ...}`, as `load_checkpoint` reads it.
Loading is strict: every tensor is used exactly once and must have the expected shape.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from magvit import weights
from magvit.autoregressive import AutoregressiveConfig, AutoregressiveTransformer
from magvit.interop.checkpoint import load_checkpoint
from magvit.interop.layouts import module_paths, parameters
from magvit.nn.conv import Padding
from magvit.perceptual import ResNet50
from magvit.tokenizer import Discriminator, DiscriminatorConfig, TokenizerConfig, VideoTokenizer
from magvit.transformer import MaskedTransformer, TransformerConfig

__all__ = [
    "autoregressive",
    "discriminator",
    "infer_autoregressive_config",
    "infer_tokenizer_config",
    "infer_transformer_config",
    "load_checkpoint",
    "module_paths",
    "network_kind",
    "resnet50",
    "to_official",
    "tokenizer",
    "transformer",
]

Module = TypeVar("Module", bound=nn.Module)
Parameters = Mapping[str, Any]  # arrays by official name


def tokenizer(params: Parameters, config: TokenizerConfig) -> VideoTokenizer:
    """A `VideoTokenizer`, 2D or 3D, with the parameters of the official generator.

    Raises:
        ValueError: naming a tensor that is missing, left over or of another shape.
    """
    return _load(lambda: VideoTokenizer(config), params)


def discriminator(params: Parameters, config: DiscriminatorConfig) -> Discriminator:
    """A `Discriminator` with official parameters; raises like `tokenizer`."""
    return _load(lambda: Discriminator(config), params)


def transformer(params: Parameters, config: TransformerConfig) -> MaskedTransformer:
    """A `MaskedTransformer` with the parameters of the official `Bert`; raises like `tokenizer`."""
    return _load(lambda: MaskedTransformer(config), params)


def autoregressive(params: Parameters, config: AutoregressiveConfig) -> AutoregressiveTransformer:
    """An `AutoregressiveTransformer` with the parameters of the official `TransformerLM`; raises like `tokenizer`."""
    return _load(lambda: AutoregressiveTransformer(config), params)


def resnet50(params: Parameters) -> ResNet50:
    """The perceptual network with the parameters and batch statistics of the official one; raises like `tokenizer`.

    `params` holds both collections: `load_checkpoint(path, "params") | load_checkpoint(path, "batch_stats")`. Training
    takes it as `resnet50-official` from a file made by `safetensors.torch.save_file(network.state_dict(), path)`.
    """
    return _load(lambda: ResNet50("official"), params)


def to_official(module: nn.Module, tensors: Mapping[str, Tensor] | None = None) -> dict[str, np.ndarray]:
    """The way back: official names and layouts, float32.

    Args:
        module: a network that this file can load.
        tensors: what to convert, by our parameter names, for example gradients; None = the parameters themselves.
    """
    tensors = module.state_dict() if tensors is None else tensors
    return {name: tensor.detach().float().cpu().numpy() for name, tensor in _official_tensors(module, tensors)}


def _official_tensors(model: nn.Module, tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    for name, official_names, layout, owner in parameters(model):
        yield from zip(official_names, layout.to_official(tensors[name], owner), strict=True)


def _load(factory: Callable[[], Module], params: Parameters) -> Module:
    model = weights.build(factory, len(params), "the official checkpoint")
    what = type(model).__name__
    expected = {name: tuple(tensor.shape) for name, tensor in _official_tensors(model, model.state_dict())}
    for name, shape in expected.items():
        if (given := _shape(params, name)) != shape:
            raise ValueError(f"the official tensor {name!r} has shape {given}, this {what} needs {shape}")
    if extra := sorted(params.keys() - expected.keys()):
        raise ValueError(f"this {what} has no use for the official tensor {extra[0]!r} ({len(extra)} such)")
    state = {}
    for name, official_names, layout, _ in parameters(model):
        tensors = [torch.as_tensor(np.array(params[part])) for part in official_names]
        state[name] = layout.to_ours(tensors)
    weights.load_state(model, state, "the official checkpoint")
    return model.eval()


def _shape(params: Parameters, name: str, *axes: int) -> tuple[int, ...]:
    """The shape of a tensor, which has one of these numbers of axes if any are given."""
    if name not in params:
        raise ValueError(f"the official parameters lack the tensor {name!r}")
    shape = tuple(params[name].shape)
    if 0 in shape:
        raise ValueError(f"the official tensor {name!r} has shape {shape}, expected at least one number")
    if axes and len(shape) not in axes:
        expected = " or ".join(map(str, axes))
        raise ValueError(f"the official tensor {name!r} has shape {shape}, expected {expected} axes")
    return shape


Kind = Literal["tokenizer", "discriminator", "transformer", "autoregressive", "resnet50"]
_SIGNS: dict[Kind, str] = {
    "tokenizer": "quantizer/codebook",
    "discriminator": "Dense_1/kernel",
    "transformer": "BertEmbed_0/word_embeddings/embedding",
    "autoregressive": "PositionEmbeddings_0/embed_pos",
    "resnet50": "init_conv/kernel",
}


def network_kind(params: Parameters) -> Kind:
    """Which network the official parameters belong to.

    Raises:
        ValueError: if it is none of ours.
    """
    for kind, name in _SIGNS.items():
        if name in params:
            return kind
    raise ValueError(f"these are not the parameters of a MAGVIT network: none of {', '.join(_SIGNS.values())} is there")


def _count(params: Parameters, prefix: str) -> int:
    """How many numbered modules `<prefix>0, <prefix>1, ...` there are."""
    return len({name.removeprefix(prefix).split("/")[0] for name in params if name.startswith(prefix)})


def infer_tokenizer_config(
    params: Parameters, temporal_downsample: tuple[bool, ...] | None = None, padding: Padding = "zero"
) -> TokenizerConfig:
    """The config that the shapes of an official tokenizer show.

    Shapes do not show which steps halve time or how convolutions pad; the defaults are those of the released models:
    time is halved in the first two steps, and zero padding.

    Raises:
        ValueError: naming a tensor that is missing.
    """
    *kernel, _, base_channels = _shape(params, "encoder/Conv_0/kernel", 4, 5)
    num_levels = max(1, _count(params, "decoder/Conv_") - 1)
    num_res_blocks = _count(params, "encoder/ResBlock_") // (num_levels + 1)
    widths = [
        _shape(params, f"encoder/ResBlock_{level * num_res_blocks}/Conv_0/kernel", 4, 5)[-1]
        for level in range(num_levels)
    ]
    codebook_size, codebook_dim = _shape(params, "quantizer/codebook", 2)
    dims: Literal[2, 3] = 2 if len(kernel) == 2 else 3
    return TokenizerConfig(
        dims=dims,
        base_channels=base_channels,
        channel_multipliers=tuple(width // base_channels for width in widths),
        temporal_downsample=temporal_downsample or tuple(step < 2 for step in range(num_levels - 1)),
        num_res_blocks=num_res_blocks,
        codebook_size=codebook_size,
        codebook_dim=codebook_dim,
        padding=padding,
        decoder_padding="zero" if dims == 2 else None,  # the official 2D decoder always pads with zeros
    )


def infer_transformer_config(params: Parameters) -> TransformerConfig:
    """The config that the shapes of an official `Bert` show, with the default dropout.

    Raises:
        ValueError: naming a tensor that is missing.
    """
    vocab_size, hidden_size = _shape(params, "BertEmbed_0/word_embeddings/embedding", 2)
    segments = "BertEmbed_0/segment_embeddings/embedding"
    return TransformerConfig(
        vocab_size=vocab_size,
        max_length=_shape(params, "BertEmbed_0/position_embeddings/embedding", 2)[0],
        hidden_size=hidden_size,
        num_layers=_count(params, "BertLayer_"),
        num_heads=_shape(params, "BertLayer_0/BertAttention_0/self_attention/query/kernel", 3)[1],
        mlp_size=_shape(params, "BertLayer_0/BertMlp_0/intermediate_output/kernel", 2)[1],
        num_segments=_shape(params, segments, 2)[0] if segments in params else 0,
    )


def infer_autoregressive_config(params: Parameters) -> AutoregressiveConfig:
    """The config that the shapes of an official `TransformerLM` show, with the default dropout.

    Raises:
        ValueError: naming a tensor that is missing.
    """
    vocab_size, hidden_size = _shape(params, "Embed_0/embedding", 2)
    return AutoregressiveConfig(
        vocab_size=vocab_size,
        max_length=_shape(params, "PositionEmbeddings_0/embed_pos", 3)[1],
        hidden_size=hidden_size,
        num_layers=_count(params, "VTNLayer_"),
        num_heads=_shape(params, "VTNLayer_0/SelfAttention_0/query/kernel", 3)[1],
        mlp_size=_shape(params, "VTNLayer_0/MlpBlock_0/Dense_0/kernel", 2)[1],
    )
