"""Model: a tokenizer and a transformer and what they are, loaded from a folder, saved, put on the hub, moved.

What they do together is `magvit.pipeline`.
"""

import contextlib
from pathlib import Path
from typing import Any, TypeVar

import torch

from magvit import hub
from magvit.device import usable_device, usable_dtype, usable_precision
from magvit.generation import Transformer, make_transformer
from magvit.generator_config import AutoregressiveGenerator
from magvit.model_card import millions, model_card
from magvit.model_config import ModelConfig
from magvit.tasks import TASKS
from magvit.tokenizer import VideoTokenizer
from magvit.transformer import MaskedTransformer

Itself = TypeVar("Itself", bound="Model")


def compile_for_use(network: VideoTokenizer | MaskedTransformer) -> None:
    """Compile a network for each batch size that it meets; on a GPU a transformer's pass becomes one CUDA graph."""
    graph = isinstance(network, MaskedTransformer) and next(network.parameters()).is_cuda
    network.compile(dynamic=False, mode="reduce-overhead" if graph else None)


class Model(hub.Pushed):
    """A tokenizer and, unless the folder holds only that, a transformer, on one device.

    Attributes:
        config: the model's `ModelConfig`.
        tokenizer: `VideoTokenizer`, in evaluation mode.
        transformer: `MaskedTransformer` or `AutoregressiveTransformer` in evaluation mode, or None.
        precision: `bfloat16` runs the networks under autocast; distances and sampling stay float32, and so do weights
            unless they were loaded in another `dtype`.
        origin: by which name and revision it was loaded; empty for one that was made.
    """

    def __init__(
        self,
        config: ModelConfig,
        tokenizer: VideoTokenizer,
        transformer: Transformer | None = None,
        precision: str | torch.dtype | None = None,
    ) -> None:
        if (transformer and transformer.config) != (config.generator and config.generator.transformer):
            raise ValueError("the config describes another transformer than the one that is given")
        self.config = config
        self.tokenizer = tokenizer.eval()
        self.transformer = None if transformer is None else transformer.eval()
        kept = "bfloat16" if self.dtype == torch.bfloat16 else "float32"
        self.precision = usable_precision(kept if precision is None else precision)
        if (kept, self.precision) == ("bfloat16", "float32"):
            raise ValueError("precision is float32, expected bfloat16, in which the weights are")
        self.origin: dict[str, str] = {}

    def __repr__(self) -> str:
        first, *others = self._facts()
        return "\n  ".join([f"{type(self).__name__} on {self.device} in {self.precision}", first, *others])

    def _facts(self) -> list[str]:
        networks = {"tokenizer": self.tokenizer, "transformer": self.transformer}
        sizes = [f"{name} of {millions(network)}" for name, network in networks.items() if network is not None]
        clips, learnt = self.config.facts()
        return [clips, ", ".join(sizes), learnt]

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks that it does."""
        return self.config.tasks

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their numbers."""
        return self.config.classes

    @classmethod
    def from_pretrained(
        cls: type[Itself],
        name: str | Path,
        device: str | torch.device = "cpu",
        precision: str | torch.dtype | None = None,
        *,
        revision: str | None = None,
        dtype: str | torch.dtype = torch.float32,
    ) -> Itself:
        """Load a model folder.

        Args:
            name: a local path, the name of a packaged model, or a hub id `user/name`.
            device: where the networks work.
            precision: in which they work; without it that of the weights.
            revision: branch, tag or commit on the hub.
            dtype: in which the weights are kept: bfloat16 takes half the memory, and then the networks work in it.

        Raises:
            OSError: it is not there.
            ValueError: something in it is wrong, or the device, precision or dtype is none.
        """
        dtype = usable_dtype(dtype)
        if precision is not None:
            usable_precision(precision)
        where = usable_device(device)
        folder = hub.resolve(name, revision)
        config = ModelConfig.load(folder)
        tokenizer = hub.load_network(lambda: VideoTokenizer(config.tokenizer), folder, "tokenizer", dtype)
        transformer, generator = None, config.generator
        if generator is not None:
            transformer = hub.load_network(lambda: make_transformer(generator), folder, "transformer", dtype)
        pipe = cls(config, tokenizer, transformer, precision).to(where)
        pipe.origin = {"model": str(name), **hub.revision_of(folder)}
        return pipe

    def save_pretrained(
        self,
        folder: str | Path,
        dtype: str | torch.dtype = torch.float32,
        *,
        license: str = "unknown",
        name: str | None = None,
    ) -> None:
        """Write a model folder that `from_pretrained` reads, with a model card unless it has one.

        Args:
            folder: made if need be.
            dtype: bfloat16 halves its size.
            license: of the weights, as the hub calls it: `apache-2.0`, ...
            name: what the card calls the model; by default the folder's name.

        Raises:
            OSError: the folder cannot be written.
            ValueError: the licence is no word, or the dtype another.
        """
        networks = {"tokenizer": self.tokenizer, "transformer": self.transformer}
        tensors = {key: hub.stored(part, usable_dtype(dtype)) for key, part in networks.items() if part is not None}
        generator = self.config.generator
        kind = "autoregressive" if isinstance(generator, AutoregressiveGenerator) else "masked-generation"
        tags = (kind, *(generator.tasks if generator else ()))
        card = model_card(name or Path(folder).resolve().name, license, self._facts(), self._example(), tags)
        hub.save_folder(folder, self.config.to_dict(), tensors, card)

    def _example(self) -> str:
        """How the model is used, for its card."""
        load = 'pipe = magvit.MagvitPipeline.from_pretrained("NAME")'
        if not self.tasks:
            return (
                f'{load}\nvideo = pipe.reconstruct("clip.mp4")\nmagvit.write_video("again.mp4", video, pipe.config.fps)'
            )
        task = TASKS[self.tasks[0]]
        given = [f'"{task.name}"']
        given += ['"clip.mp4"'] if task.needs_video else []
        given += ["label=0"] if task.class_conditional else []
        return f'{load}\nout = pipe({", ".join(given)})\nmagvit.write_video("out.mp4", out.video, pipe.config.fps)'

    @property
    def dtype(self) -> torch.dtype:
        """That of the weights."""
        return self.tokenizer.dtype

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next(self.tokenizer.parameters()).device

    def to(
        self: Itself, device: str | torch.device | torch.dtype | None = None, dtype: torch.dtype | None = None
    ) -> Itself:
        """Move the networks, or change the precision that they work in; returns the pipeline.

        Weights of bfloat16 become float32 to work in that; those of float32 stay.
        """
        dtype = device if isinstance(device, torch.dtype) else dtype
        self.precision = self.precision if dtype is None else usable_precision(dtype)
        where = self.device if isinstance(device, torch.dtype | None) else usable_device(device)
        widened = torch.float32 if (self.precision, self.dtype) == ("float32", torch.bfloat16) else None
        for network in (self.tokenizer, self.transformer):
            if network is not None:
                network.to(where, widened)
        return self

    def compile(self: Itself) -> Itself:
        """Let `torch.compile` fuse the networks, once for each batch size at its first use; returns the pipeline.

        That takes tens of seconds, so it is for many clips on a GPU; docs/benchmarks.md says what it brings. Values
        are the same up to rounding, and so is what is saved. Of an autoregressive model the tokenizer alone is
        compiled.
        """
        compile_for_use(self.tokenizer)
        if isinstance(self.transformer, MaskedTransformer):
            compile_for_use(self.transformer)
        return self

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """What the networks run under: bfloat16 where that is this pipeline's precision."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16")
