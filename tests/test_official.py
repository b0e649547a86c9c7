import sys

import numpy as np
import pytest
import torch

from magvit.autoregressive import AutoregressiveConfig, AutoregressiveTransformer
from magvit.interop import official
from magvit.presets import DISCRIMINATORS, TOKENIZERS
from magvit.tokenizer import Discriminator, DiscriminatorConfig, TokenizerConfig, VideoTokenizer
from magvit.transformer import MaskedTransformer, TransformerConfig

SMALL = {"channel_multipliers": (1, 2, 3), "num_res_blocks": 1, "codebook_size": 11, "codebook_dim": 5}
MODELS = {
    "tokenizer": (
        VideoTokenizer,
        TokenizerConfig(base_channels=32, temporal_downsample=(True, True), padding="zero", **SMALL),
    ),
    "tokenizer_2d": (
        VideoTokenizer,
        TokenizerConfig(
            dims=2, base_channels=32, temporal_downsample=(True, True), padding="zero", decoder_padding="zero", **SMALL
        ),
    ),
    "discriminator": (
        Discriminator,
        DiscriminatorConfig(base_channels=2, channel_multipliers=(2, 3), clip_shape=(4, 8, 8)),
    ),
    "transformer": (
        MaskedTransformer,
        TransformerConfig(
            vocab_size=20, max_length=9, hidden_size=8, num_layers=2, num_heads=2, mlp_size=12, num_segments=2
        ),
    ),
    "autoregressive": (
        AutoregressiveTransformer,
        AutoregressiveConfig(vocab_size=20, max_length=9, hidden_size=8, num_layers=2, num_heads=2, mlp_size=12),
    ),
}
INFER = {
    "tokenizer": official.infer_tokenizer_config,
    "transformer": official.infer_transformer_config,
    "autoregressive": official.infer_autoregressive_config,
}


def made(name):
    torch.manual_seed(0)
    kind, config = MODELS[name]
    model = kind(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()  # no two alike, so that a mix-up shows
    return model


def loader(name):
    return getattr(official, name.removesuffix("_2d"))


@pytest.mark.parametrize("name", MODELS)
def test_there_and_back(name):
    model = made(name)
    params = official.to_official(model)
    assert sum(array.size for array in params.values()) == sum(p.numel() for p in model.parameters())
    back = loader(name)(params, model.config)
    assert type(back) is type(model)
    for key, tensor in model.state_dict().items():
        assert torch.equal(back.state_dict()[key], tensor), key


@pytest.mark.parametrize("name", MODELS)
def test_the_kind_and_the_config_show_in_the_shapes(name):
    model = made(name)
    params = official.to_official(model)
    kind = name.removesuffix("_2d")
    assert official.network_kind(params) == kind
    if kind in INFER:
        assert INFER[kind](params) == model.config


def test_unknown_parameters_have_no_kind():
    with pytest.raises(ValueError, match="not the parameters of a MAGVIT network"):
        official.network_kind({"Dense_0/kernel": np.zeros((2, 2))})


@pytest.mark.parametrize("name", MODELS)
def test_missing_extra_and_misshaped_tensors_are_named(name):
    model = made(name)
    params = official.to_official(model)
    victim = sorted(params)[len(params) // 2]

    def refused(changed, message):
        with pytest.raises(ValueError, match=message) as error:
            loader(name)(changed, model.config)
        assert "\n" not in str(error.value)

    refused({key: value for key, value in params.items() if key != victim}, f"lack the tensor '{victim}'")
    refused(params | {"Extra_0/kernel": np.zeros(3)}, "no use for the official tensor 'Extra_0/kernel'")
    refused(params | {victim: params[victim][None]}, f"'{victim}' has shape")


def test_a_module_without_counterpart_is_refused():
    with pytest.raises(ValueError, match="Linear has no official counterpart"):
        official.to_official(torch.nn.Linear(2, 2))


@pytest.mark.parametrize("name", TOKENIZERS)
def test_every_official_size_has_the_official_tensors(name):
    with torch.device("meta"):
        models = VideoTokenizer(TOKENIZERS[name]), Discriminator(DISCRIMINATORS[name])
    for model in models:
        assert {ours for ours, *_ in official.parameters(model)} == set(model.state_dict())


# --- checkpoint files


@pytest.mark.parametrize("prefix", ["", "params/", "g_params/", "ema_params/", "ema_params/params/"])
def test_npz_checkpoints_with_and_without_a_wrapper(tmp_path, prefix):
    params = official.to_official(made("transformer"))
    path = tmp_path / "weights.npz"
    np.savez(path, **{prefix + name: array for name, array in params.items()}, global_step=np.array(3))
    if not prefix:
        with np.load(path) as archive:
            np.savez(path, **{name: archive[name] for name in params})
    read = official.load_checkpoint(path)
    assert read.keys() == params.keys()
    assert all(np.array_equal(read[name], params[name]) for name in params)


def test_a_train_state_gives_the_averaged_generator_or_what_is_asked_for(tmp_path):
    path = tmp_path / "state.npz"
    arrays = {f"{part}/a": np.full(2, i) for i, part in enumerate(("g_params", "ema_params", "d_params"))}
    np.savez(path, **arrays)
    assert official.load_checkpoint(path)["a"].tolist() == [1, 1]
    assert official.load_checkpoint(path, collection="d_params")["a"].tolist() == [2, 2]
    with pytest.raises(ValueError, match="has no 'params', it has d_params, ema_params, g_params"):
        official.load_checkpoint(path, collection="params")


def test_bad_files_are_refused(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        official.load_checkpoint(tmp_path / "nothing")
    path = tmp_path / "weights.npz"
    np.savez(path, a=np.zeros(100))
    content = path.read_bytes()
    path.write_bytes(content[:60] + bytes(40) + content[100:])
    with pytest.raises(ValueError, match="not a readable"):
        official.load_checkpoint(path)
    np.savez(path, a=np.array([None]))
    with pytest.raises(ValueError, match="not a readable"):
        official.load_checkpoint(path)
    path = tmp_path / "checkpoint_1"
    path.write_bytes(b"")
    monkeypatch.setitem(sys.modules, "msgpack", None)
    with pytest.raises(ValueError, match="pip install msgpack"):
        official.load_checkpoint(path)


def test_flax_msgpack_checkpoints(tmp_path):
    msgpack = pytest.importorskip("msgpack", reason="msgpack is not installed")

    def stored(array, name=None):
        content = (array.shape, name or array.dtype.name, array.tobytes())
        return msgpack.ExtType(1, msgpack.packb(content, use_bin_type=True))

    plain = np.arange(6, dtype=np.float32).reshape(2, 3)
    halves = np.array([0x3FC0, 0xC000], dtype=np.uint16)  # 1.5 and -2 in bfloat16
    chunks = {"0": stored(plain[0]), "1": stored(plain[1])}
    large = {"__msgpack_chunked_array__": True, "shape": {"0": 3, "1": 2}, "chunks": chunks}
    tree = {"Conv_0": {"kernel": stored(plain), "bias": stored(halves, "bfloat16")}, "large": large}
    path = tmp_path / "checkpoint_1"
    path.write_bytes(msgpack.packb({"params": tree, "opt_state": {"count": 3, "mu": None}}, use_bin_type=True))
    read = official.load_checkpoint(path)
    assert {name: array.tolist() for name, array in read.items()} == {
        "Conv_0/kernel": plain.tolist(),
        "Conv_0/bias": [1.5, -2.0],
        "large": plain.reshape(3, 2).tolist(),
    }
    for damaged in (path.read_bytes()[:-5], b"\x93\x01\x02\x03", b"text", b""):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="not a readable file of weights"):
            official.load_checkpoint(path)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (lambda kernel: kernel * np.float32(np.nan), "not finite"),
        (lambda kernel: kernel.astype(np.int8), "holds int8, expected float32"),
        (lambda kernel: kernel[..., :0], "expected at least one number"),
    ],
)
def test_official_numbers_that_are_no_weights(value, words) -> None:
    config = TokenizerConfig(base_channels=32, channel_multipliers=(1, 1), num_res_blocks=1, codebook_size=8)
    params = official.to_official(VideoTokenizer(config))
    params["encoder/Conv_0/kernel"] = value(params["encoder/Conv_0/kernel"])
    with pytest.raises(ValueError, match=words):
        official.tokenizer(params, official.infer_tokenizer_config(params))


def test_official_sizes_cost_nothing_until_they_fit() -> None:
    params = {
        "BertEmbed_0/word_embeddings/embedding": np.zeros((1, 2**20), np.float32),
        "BertEmbed_0/position_embeddings/embedding": np.zeros((1, 4), np.float32),
        "BertLayer_0/BertAttention_0/self_attention/query/kernel": np.zeros((1, 2, 1), np.float32),
        "BertLayer_0/BertMlp_0/intermediate_output/kernel": np.zeros((1, 2**20), np.float32),
    }
    with pytest.raises(ValueError, match="the official"):
        official.transformer(params, official.infer_transformer_config(params))
