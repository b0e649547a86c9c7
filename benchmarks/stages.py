"""The two training steps as the benchmarks run them: what `magvit train` does for one batch on one process, without its
log, samples and checkpoints, and without the perceptual network.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from measure import Clock
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from magvit.data.loader import DataConfig, TrainingClips, make_loader
from magvit.nn.attention import TransformerSize
from magvit.presets import DISCRIMINATORS, TOKENIZERS, TRANSFORMERS
from magvit.tasks import Vocabulary, get_task, sequence_length
from magvit.tokenizer import Discriminator, DiscriminatorConfig, TokenizerConfig, VideoTokenizer
from magvit.training.config import LoopConfig, TokenizerLossConfig, TransformerRun
from magvit.training.objectives import Adversary, commit_objective, draw, generator_objective, tokenize
from magvit.training.optim import OptimizerConfig, adamw, clip_gradients, set_learning_rate
from magvit.transformer import MaskedTransformer, TransformerConfig

TINY_TOKENIZER = TokenizerConfig(
    base_channels=16, channel_multipliers=(1, 2, 4), temporal_downsample=(True, True), num_res_blocks=1, norm_groups=4
)
TINY_DISCRIMINATOR = DiscriminatorConfig(base_channels=16, channel_multipliers=(2, 4))
TINY_TRANSFORMER = TransformerSize(num_layers=2, hidden_size=64, mlp_size=256, num_heads=2)
TASK = "frame_prediction"  # every clip needs its condition encoded too: the costliest kind


@dataclass(frozen=True)
class Options:
    """What is measured; a comparison changes one field."""

    device: torch.device
    size: str = "b"
    clip: tuple[int, int, int] = (16, 128, 128)
    batch: int = 1
    workers: int = 0
    bfloat16: bool = True
    channels_last: bool = False
    rematerialize: int = 0
    compile: bool = False
    fused: bool = True
    with_r1: bool = True
    cached_tokens: bool = False

    @property
    def tokenizer(self) -> TokenizerConfig:
        """A model for small clips has one level less."""
        if self.size == "tiny":
            return TINY_TOKENIZER
        return TOKENIZERS[f"3dvq-{self.size}{'-64' if self.clip[1] <= 64 else ''}"]

    @property
    def discriminator(self) -> DiscriminatorConfig:
        name = f"3dvq-{self.size}{'-64' if self.clip[1] <= 64 else ''}"
        config = TINY_DISCRIMINATOR if self.size == "tiny" else DISCRIMINATORS[name]
        return replace(config, clip_shape=self.clip)

    @property
    def transformer(self) -> TransformerSize:
        return TINY_TRANSFORMER if self.size == "tiny" else TRANSFORMERS[f"magvit-{self.size}"]


# --- The two steps ---------------------------------------------------------------------------------------------------


class Stage:
    """Networks, optimizers and data of one stage; `stage(clock)` makes one step."""

    def __init__(self, options: Options):
        self.options, self.device, self.steps = options, options.device, 0
        torch.manual_seed(0)
        clips = TrainingClips(DataConfig(clip_shape=options.clip, synthetic_share=1.0), seed=0)
        cuda = self.device.type == "cuda"
        loader = make_loader(clips, options.batch, seed=0, num_workers=options.workers, pin_memory=cuda)
        self.batches = iter(loader)

    def __call__(self, clock: Clock) -> None:
        raise NotImplementedError

    def place(self, module: torch.nn.Module) -> Any:
        layout = torch.channels_last_3d if self.options.channels_last else torch.contiguous_format
        return module.to(self.device, memory_format=layout)

    def compiled(self, module: torch.nn.Module) -> Any:
        """The network that learns, compiled if that is asked for."""
        if self.options.compile:
            module.compile()
        return module

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.options.bfloat16)

    def optimizer(self, module: torch.nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
        optimizer = adamw(module, config)
        if not self.options.fused:
            for group in optimizer.param_groups:
                group["fused"], group["foreach"] = False, True
        return optimizer

    def update(self, module: torch.nn.Module, optimizer: torch.optim.Optimizer, config: OptimizerConfig) -> None:
        set_learning_rate(optimizer, config, self.steps, total_steps=1000)
        clip_gradients(module.parameters(), config.clip_norm)
        optimizer.step()
        optimizer.zero_grad()

    def next_video(self) -> Tensor:
        return next(self.batches)["video"].to(self.device, non_blocking=True)


class TokenizerStage(Stage):
    """Stage 1, with discriminator, R1 and the moving average of the weights."""

    def __init__(self, options: Options):
        super().__init__(options)
        self.losses, self.config = TokenizerLossConfig(perceptual="none"), OptimizerConfig()
        self.model = self.compiled(self.place(VideoTokenizer(options.tokenizer)))
        self.adversary = self.place(Adversary(Discriminator(options.discriminator), self.losses))
        self.discriminator = self.adversary.discriminator
        self.model.rematerialize = self.discriminator.rematerialize = options.rematerialize
        self.average = AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(0.999))
        self.of_model = self.optimizer(self.model, self.config)
        self.of_adversary = self.optimizer(self.adversary, self.config)

    def __call__(self, clock: Clock) -> None:
        with clock("data"):
            video = self.next_video()
        with clock("generator forward"), self.autocast():
            output = self.model(video)
            self.discriminator.requires_grad_(False)
            loss, _ = generator_objective(
                video, output, self.model.quantizer, self.discriminator, self.losses, self.steps
            )
        with clock("generator backward"):
            loss.backward()
        self.discriminator.requires_grad_(True)
        with clock("discriminator forward"), self.autocast():
            loss, _ = self.adversary(video, output.reconstruction, self.options.with_r1)
        with clock("discriminator backward"):
            loss.backward()
        with clock("optimizer"):
            self.update(self.model, self.of_model, self.config)
            self.update(self.adversary, self.of_adversary, self.config)
            self.average.update_parameters(self.model)
        self.steps += 1


class TransformerStage(Stage):
    """Stage 2. With `cached_tokens` the tokens are those of the first batch: what a token cache would give."""

    def __init__(self, options: Options):
        super().__init__(options)
        size, tasks = options.transformer, (TASK,)
        loop, data = LoopConfig(num_steps=1, global_batch_size=options.batch), DataConfig(clip_shape=options.clip)
        self.run = TransformerRun(loop, data, tokenizer="", tasks=tasks)
        self.tokenizer = self.place(VideoTokenizer(options.tokenizer)).requires_grad_(False).eval()
        self.grid = options.tokenizer.latent_shape(options.clip)
        self.vocabulary = Vocabulary(options.tokenizer.codebook_size, num_classes=101)
        t, h, w = self.grid
        length = sequence_length(self.vocabulary, t * h * w, "commit")
        self.model = MaskedTransformer(
            TransformerConfig(vocab_size=self.vocabulary.size, max_length=length, **asdict(size))
        ).to(self.device)
        self.model.rematerialize = options.rematerialize
        self.compiled(self.model)
        self.of_model = self.optimizer(self.model, self.run.optimizer)
        self.chosen = [get_task(TASK)] * options.batch
        self.cached = self.encode(self.next_video()) if options.cached_tokens else None

    def encode(self, video: Tensor) -> Any:
        with self.autocast():
            return tokenize(self.tokenizer, video, self.chosen, self.run.condition_frames)

    def __call__(self, clock: Clock) -> None:
        if self.cached is None:
            with clock("data"):
                video = self.next_video()
            with clock("tokenizer encode"):
                tokens = self.encode(video)
        else:
            tokens = self.cached
        with clock("transformer forward"), self.autocast():
            draws = [
                draw(self.run, self.chosen[:1], self.steps * self.options.batch + i, self.steps, self.grid)
                for i in range(self.options.batch)
            ]
            labels = [-1] * self.options.batch
            loss = commit_objective(self.model, tokens, draws, labels, self.vocabulary, self.run).total
        with clock("transformer backward"):
            loss.backward()
        with clock("optimizer"):
            self.update(self.model, self.of_model, self.run.optimizer)
        self.steps += 1


STAGES: dict[str, type[Stage]] = {"tokenizer": TokenizerStage, "transformer": TransformerStage}
