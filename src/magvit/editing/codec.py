"""A clip of any size and length into a small file of tokens, and back: streaming, one chunk at a time."""

import json
import platform
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from fractions import Fraction
from itertools import chain
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from magvit import storage
from magvit.editing.entropy import Decoder, Encoder
from magvit.editing.streaming import Frame, Tiling, TokenGrid, decode_frames, encode_frames, token_grid
from magvit.editing.token_file import Header, read_chunks, read_header, writing_tokens
from magvit.editing.token_models import Adaptive, Coding, Foretold, TokenModel, Uniform
from magvit.generation import Transformer
from magvit.pipeline import MagvitPipeline
from magvit.tokenizer import VideoTokenizer

ChunkDone = Callable[[int], object]
"""Called after each chunk with the number of frames it stands for."""


def encode_clip(
    pipe: MagvitPipeline,
    frames: Iterable[Frame],
    fps: Fraction | float | int,
    output: str | PathLike[str],
    *,
    coding: Coding = "adaptive",
    num_steps: int = 12,
    tiling: Tiling = Tiling(),
    model: str = "",
    progress: ChunkDone = lambda frames: None,
) -> Header:
    """Write the tokens of a clip as a file, which appears when it is complete.

    Args:
        pipe: the tokenizer, and for coding "transformer" the transformer.
        frames: `3 H W`, 8-bit or in [0, 1], all of one size; any number of them. `magvit.video.Source` gives a file's.
        fps: frames per second.
        output: the file.
        coding: by which probabilities, see `magvit.editing.token_models`.
        num_steps: passes of a transformer for its whole grid of tokens.
        tiling: how frames are cut for the tokenizer.
        model: the name that the file says it was made by.
        progress: told of each chunk.

    Raises:
        ValueError: the frames are no such frames, there are none, or the model cannot code like this.
        OSError: the file cannot be written.
    """
    length, codes = pipe.config.clip_shape[0], pipe.config.tokenizer.codebook_size
    tokens_model = _token_model(coding, codes, pipe, num_steps)
    frames = iter(frames)
    if (first := next(frames, None)) is None:
        raise ValueError("the clip has no frames")
    foretold = coding == "transformer"
    header = Header(
        first.shape[-2],
        first.shape[-1],
        1,
        Fraction(fps).limit_denominator(2**16),
        length,
        token_grid(pipe.tokenizer, length, (first.shape[-2], first.shape[-1])),
        codes,
        coding,
        num_steps if foretold else 0,
        tiling,
        fingerprint(pipe.tokenizer),
        fingerprint(pipe.transformer) if foretold and pipe.transformer else 0,
        model,
        machine(pipe.device) if foretold else "",
    )
    path = Path(output)
    path.parent.mkdir(parents=True, exist_ok=True)
    with writing_tokens(path, header) as write:
        for tokens, count in encode_frames(pipe.tokenizer, chain([first], frames), length, tiling):
            encoder = Encoder(tokens.numel())
            tokens_model.code(encoder, tokens.numpy())
            write(encoder.finish(), _crc(tokens.numpy()), count)
            progress(count)
    return read_header(path)


def read_tokens(path: str | PathLike[str], pipe: MagvitPipeline | None = None) -> Iterator[tuple[TokenGrid, int]]:
    """The tokens of a file, chunk by chunk, and how many frames each stands for.

    Args:
        path: a file that `encode_clip` wrote.
        pipe: the model, needed for coding "transformer" alone.

    Raises:
        OSError: the file is missing or cannot be opened.
        ValueError: it is damaged or no such file; the model is another one, or computes other probabilities.
    """
    path = Path(path)
    header = read_header(path)
    if header.coding == "transformer":
        if pipe is None:
            raise ValueError(f"{path} is coded by the transformer of {header.model!r}, which is needed to read it")
        _check_network(path, header, "transformer", header.transformer, pipe.transformer)
    return _tokens(path, header, pipe, _token_model(header.coding, header.codebook_size, pipe, header.num_steps))


def _tokens(
    path: Path, header: Header, pipe: MagvitPipeline | None, model: TokenModel
) -> Iterator[tuple[TokenGrid, int]]:
    for number, (data, crc) in enumerate(read_chunks(path)):
        try:
            decoder = Decoder(data, header.num_tokens)
            tokens = model.code(decoder, np.zeros(header.grid, np.int64))
            decoder.finish()
            if _crc(tokens) != crc:
                raise ValueError("the tokens are not those that were encoded")
        except ValueError as error:
            raise ValueError(_not_those(path, header, pipe, number)) from error
        yield torch.from_numpy(tokens), header.frames_of(number)


def decode_clip(
    pipe: MagvitPipeline, path: str | PathLike[str], tiling: Tiling | None = None
) -> Iterator[UInt8[Tensor, "3 H W"]]:
    """The frames of a file, one by one, of the size and number of those that were encoded.

    Args:
        pipe: the model that it was encoded by.
        path: a file that `encode_clip` wrote.
        tiling: how frames are cut for the tokenizer; None as they were for encoding.

    Raises:
        OSError: the file is missing or cannot be opened.
        ValueError: as `read_tokens`.
    """
    path = Path(path)
    header = read_header(path)
    _check_network(path, header, "tokenizer", header.tokenizer, pipe.tokenizer)
    size, length = (header.height, header.width), pipe.config.clip_shape[0]
    if (header.chunk_frames, header.grid) != (length, token_grid(pipe.tokenizer, length, size)):
        chunk = f"chunks of {header.chunk_frames} frames in {'x'.join(map(str, header.grid))} tokens"
        raise ValueError(f"{path} is damaged: it has {chunk}, which this model does not make")
    return decode_frames(pipe.tokenizer, read_tokens(path, pipe), size, tiling or header.tiling)


def fingerprint(network: VideoTokenizer | Transformer) -> int:
    """A number of 32 bits that is another one for other weights or another config."""
    config = json.dumps(asdict(network.config), sort_keys=True).encode()
    state = {name: tensor.detach().cpu() for name, tensor in network.state_dict().items()}
    return zlib.crc32(config, storage.checksum(state))


def machine(device: torch.device) -> str:
    """What a network's numbers depend on beside its weights."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
    return f"PyTorch {torch.__version__} on {device.type}, {platform.machine()} {name}"


def _token_model(coding: Coding, codebook_size: int, pipe: MagvitPipeline | None, num_steps: int) -> TokenModel:
    if coding == "transformer" and pipe is not None:
        return Foretold(pipe.config, pipe.transformer, num_steps)
    return Uniform(codebook_size) if coding == "uniform" else Adaptive(codebook_size)


def _check_network(
    path: Path, header: Header, name: str, wanted: int, network: VideoTokenizer | Transformer | None
) -> None:
    if network is None or fingerprint(network) != wanted:
        raise ValueError(
            f"{path} was encoded by the {name} of {header.model!r} ({wanted:08x}), and this is another one"
        )


def _crc(tokens: np.ndarray) -> int:
    return zlib.crc32(tokens.astype("<u2").tobytes())


def _not_those(path: Path, header: Header, pipe: MagvitPipeline | None, chunk: int) -> str:
    if header.coding != "transformer" or pipe is None:
        return f"{path} is damaged: chunk {chunk} does not hold the tokens that were encoded"
    here = f"it was encoded with {header.machine}, and this is {machine(pipe.device)}"
    return f"{path}: the transformer's probabilities in chunk {chunk} are not those of encoding: {here}"
