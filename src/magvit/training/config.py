"""What a training run consists of. A recipe is a function that returns one of the two run configs."""

import math
from dataclasses import dataclass, field, fields, replace
from typing import ClassVar, Literal

import torch

from magvit.data.loader import DataConfig
from magvit.decoding import OF_TOKENS, Decoding
from magvit.generator_config import TaskDecoding
from magvit.nn.attention import TransformerSize
from magvit.perceptual import PerceptualNetwork
from magvit.storage import Kind
from magvit.tasks import LossRegion, MaskMode, get_task, mask_ratio
from magvit.tokenizer import DiscriminatorConfig, TokenizerConfig
from magvit.tokenizer.losses import Adversarial
from magvit.training.optim import OptimizerConfig


@dataclass(frozen=True)
class LoopConfig:
    """How long, how wide and how often; the same for both stages.

    A step is one optimizer update on `global_batch_size` clips, taken in pieces of `micro_batch_size` (None: at once).
    """

    num_steps: int  # optimizer updates
    global_batch_size: int  # clips in a step, of all processes
    micro_batch_size: int | None = None  # clips at once on each device: fewer take less memory and more time
    precision: Literal["float32", "bfloat16"] = "bfloat16"  # of the networks; weights and losses stay float32
    channels_last: bool = False  # memory order of convolutions, on GPUs: slower there on an H100
    seed: int = 0  # of everything random in the run
    num_workers: int = 0  # processes that read clips, for each device
    rematerialize: int = 0  # levels (stage 1) or layers (stage 2), the largest first, whose activations are recomputed
    log_every: int = 50  # steps between lines of metrics.jsonl
    sample_every: int = 1000  # steps between samples
    checkpoint_every: int = 1000  # steps between checkpoints
    keep_checkpoints: int = 2  # the newest so many
    wandb: str | None = None  # project to log to as well, where that package is installed

    def __post_init__(self) -> None:
        """Raise ValueError for values that cannot run."""
        counts = ("num_steps", "global_batch_size", "log_every", "sample_every", "checkpoint_every", "keep_checkpoints")
        for name in counts:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        for name in ("num_workers", "rematerialize"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 0 or more")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed is {self.seed}, expected 0 to {2**63 - 1}")
        if self.micro_batch_size is not None and (
            self.micro_batch_size < 1 or self.global_batch_size % self.micro_batch_size
        ):
            raise ValueError(
                f"micro_batch_size is {self.micro_batch_size}, expected a divisor of global_batch_size "
                f"{self.global_batch_size}"
            )


@dataclass(frozen=True)
class EvaluationConfig:
    """A small evaluation during training: the central clips of some videos, logged as `eval/TASK/METRIC`."""

    every: int = 0  # steps; 0: never
    metrics: tuple[str, ...] = ("psnr", "ssim")  # names that `magvit evaluate` takes
    num_samples: int = 32  # videos whose central clips are done
    tasks: tuple[str, ...] = ()  # of a transformer; without any, the first task of the run
    data: str | None = None  # clips to evaluate on; None: those of the training
    split: str | None = None  # of them, where they are a prepared set; None: that of the training
    i3d: str | None = None  # weights of I3D; None: the usual download
    c3d: str | None = None  # weights of C3D
    lpips: str | None = None  # weights of LPIPS; None: the usual download

    def __post_init__(self) -> None:
        """Raise ValueError for values that cannot be evaluated."""
        for name, least in (("every", 0), ("num_samples", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"evaluation.{name} is {getattr(self, name)}, expected at least {least}")


@dataclass(frozen=True)
class TokenizerLossConfig:
    """Weights of the tokenizer's losses (paper appendix; official `vqgan3d_ucf101`).

    LeCam is in the paper, without a weight (0.001 is a guess), and off in the official release. A weight of 0 switches
    a term off; `adversarial_weight=0` leaves out the discriminator altogether. The entropy and LeCam losses are of the
    mean over the whole step's clips (`global`), whatever the number of processes and pieces, or over each piece by
    itself (`local`: the official trainer, per device).
    """

    reconstruction: Literal["l1", "l2"] = "l2"  # mean absolute or squared difference
    perceptual: PerceptualNetwork | Literal["none"] = "resnet50"  # network that compares frames
    perceptual_weights: str | None = None  # its file; None: the usual download
    perceptual_weight: float = 0.1  # of the perceptual loss
    adversarial_weight: float = 0.1  # of what the discriminator says; 0: without one
    adversarial: Adversarial = "non-saturating"  # the form of the adversarial loss
    r1_weight: float = 10.0  # of the discriminator's gradient penalty
    r1_interval: int = 1  # the penalty every so many steps, with so many times the weight
    lecam_weight: float = 0.001  # of the LeCam regularization, a guess; 0 in the official release
    commitment_weight: float = 0.25  # pulls latents to their codes
    codebook_weight: float = 1.0  # pulls codes to their latents
    entropy_weight: float = 0.1  # makes each choice of a code sure, and all codes used
    entropy_temperature: float = 0.01  # of the choices in the entropy loss
    entropy_boost: float = 0.0  # extra entropy weight, as a multiple, that fades out over entropy_boost_steps
    entropy_boost_steps: int = 1  # see entropy_boost
    batch_statistics: Literal["global", "local"] = "global"  # entropy and LeCam losses: of a step's clips, or a piece's

    def __post_init__(self) -> None:
        """Raise ValueError for values that cannot train."""
        for name in (each.name for each in fields(self) if each.name.endswith(("_weight", "_boost"))):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 0 or more")
        if not 0 < self.entropy_temperature < math.inf:
            raise ValueError(f"entropy_temperature is {self.entropy_temperature}, expected a positive number")
        for name in ("entropy_boost_steps", "r1_interval"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")


@dataclass(frozen=True)
class TokenizerRun:
    """Stage 1: everything `train_tokenizer` needs to know.

    Attributes:
        loop: how long and how wide.
        data: clips.
        tokenizer: size.
        discriminator: size; its clip shape is the data's unless it is given.
        losses: weights.
        generator_optimizer: of the tokenizer.
        discriminator_optimizer: of the discriminator.
        ema_decay: of the average of the weights, which is the model.
        init_from: model to start from: a tokenizer like this one, or its 2D sibling, which is inflated.
        inflation: of 2D kernels: central puts them in the middle of time, average spreads them.
        codebook_init: how codes begin, without init_from; latents: as those of the first clips, kmeans: as their means.
        quantizer_start: steps as an autoencoder before that; then the codebook is started anew from latents.
        condition_share: share of the clips that are shown as a task's condition video, as stage 2 will show them.
        train: all; or decoder: the tokens of init_from stay as they are.
        evaluation: on the way.
    """

    kind: ClassVar[Kind] = "tokenizer run"
    loop: LoopConfig
    data: DataConfig
    tokenizer: TokenizerConfig = TokenizerConfig()
    discriminator: DiscriminatorConfig = DiscriminatorConfig()
    losses: TokenizerLossConfig = TokenizerLossConfig()
    generator_optimizer: OptimizerConfig = OptimizerConfig()
    discriminator_optimizer: OptimizerConfig = OptimizerConfig()
    ema_decay: float = 0.999
    init_from: str | None = None
    inflation: Literal["central", "average"] = "central"
    codebook_init: Literal["uniform", "latents", "kmeans"] = "uniform"
    quantizer_start: int = 0
    condition_share: float = 0.0
    train: Literal["all", "decoder"] = "all"
    evaluation: EvaluationConfig = EvaluationConfig()

    def __post_init__(self) -> None:
        """Raise ValueError where the parts do not fit each other."""
        self.tokenizer.latent_shape(self.data.clip_shape)
        if self.discriminator.clip_shape is None:
            fitting = replace(self.discriminator, clip_shape=self.data.clip_shape)
            object.__setattr__(self, "discriminator", fitting)
        if self.quantizer_start < 0:
            raise ValueError(f"quantizer_start is {self.quantizer_start}, expected 0 or more")
        if self.quantizer_start and self.codebook_init == "uniform":
            raise ValueError("codebook_init is uniform, expected latents or kmeans where quantizer_start is set")
        if self.quantizer_start and self.train == "decoder":
            raise ValueError(f"quantizer_start is {self.quantizer_start}, expected 0 where train is decoder")
        if not 0 <= self.condition_share <= 1:
            raise ValueError(f"condition_share is {self.condition_share}, expected a number in [0, 1]")
        if self.condition_share and (frames := self.data.clip_shape[0]) < 3:
            raise ValueError(f"condition_share is {self.condition_share}, expected 0 for clips of {frames} frames")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay is {self.ema_decay}, expected a number in [0, 1)")
        if self.train == "decoder" and not self.init_from:
            raise ValueError("train is decoder, expected init_from: the model whose tokens stay as they are")
        if self.losses.adversarial_weight and self.discriminator.clip_shape != self.data.clip_shape:
            raise ValueError(
                f"discriminator.clip_shape is {self.discriminator.clip_shape}, expected data.clip_shape "
                f"{self.data.clip_shape}"
            )


@dataclass(frozen=True)
class TransformerRun:
    """Stage 2: everything `train_transformer` needs to know.

    Attributes:
        loop: how long and how wide.
        data: clips.
        tokenizer: model folder, packaged name, or hub id.
        tokenizer_precision: float32; or bfloat16, which is faster and gives some other tokens; None: as loop.precision.
        tasks: what is learnt: each clip draws one of them.
        token_cache: folder written by magvit tokenize, read in place of clips and tokenizer.
        task_weights: how often each task is drawn; without them all alike.
        condition_frames: frames given by the frame tasks.
        label_dropout: share of clips whose class is not told, so that guidance has something to compare with.
        generator: masked is the paper's; autoregressive its baseline, which predicts the next token.
        size: of the transformer.
        block: layers: the paper's, or modern ones; see `TransformerConfig`.
        knows_codebook: modern layers read and compare with the vectors of the codes.
        num_segments: 2 marks the condition tokens that stand in for unknown ones; 0: as in the released models.
        mask_mode: how the condition is read; commit is the paper's, prefix the only way of an autoregressive one.
        mask_schedule: distribution of the mask ratios.
        ratio_per_batch: one mask ratio for all clips of a step, as in the official trainer, and not one for each.
        stratified_ratios: the mask ratios of a step's clips are spread evenly, so that steps differ less.
        losses: the regions of Eq. 3 that are trained.
        label_smoothing: of the cross-entropy.
        task_tokens: without them a single-task model, whose prefix is the class token alone.
        separate_inpainting_token: inpainting has a task token of its own, or that of outpainting.
        optimizer: of the transformer.
        compile: let torch.compile fuse the transformer's operations: a minute at the start, then faster on a GPU. Not
            tried with strategy fsdp.
        ema_decay: of the average of the weights; 0: none, as in the paper.
        decoding: how the model decodes unless it is told otherwise.
        task_decoding: the same for single tasks.
        evaluation: on the way.
    """

    kind: ClassVar[Kind] = "transformer run"
    loop: LoopConfig
    data: DataConfig
    tokenizer: str
    tasks: tuple[str, ...]
    tokenizer_precision: Literal["float32", "bfloat16"] | None = None
    token_cache: str | None = None
    task_weights: tuple[float, ...] = ()
    condition_frames: int = 1
    label_dropout: float = 0.0
    generator: Literal["masked", "autoregressive"] = "masked"
    size: TransformerSize = TransformerSize()
    block: Literal["bert", "modern"] = "bert"
    knows_codebook: bool = False
    num_segments: int = 0
    mask_mode: MaskMode = "commit"
    mask_schedule: str = "cosine"
    ratio_per_batch: bool = False
    stratified_ratios: bool = False
    losses: tuple[LossRegion, ...] = ("refine", "mask", "reconstruct")
    label_smoothing: float = 1e-4
    task_tokens: bool = True
    separate_inpainting_token: bool = True
    optimizer: OptimizerConfig = field(
        default=OptimizerConfig(betas=(0.9, 0.96), weight_decay=0.045, clip_norm=1.0, warmup_steps=5000)
    )
    compile: bool = False
    ema_decay: float = 0.0
    decoding: Decoding = Decoding()
    task_decoding: tuple[TaskDecoding, ...] = ()
    evaluation: EvaluationConfig = EvaluationConfig()

    @property
    def tokenizes_in(self) -> Literal["float32", "bfloat16"]:
        """The precision of the tokenizer."""
        return self.tokenizer_precision or self.loop.precision

    def __post_init__(self) -> None:
        """Raise ValueError where the parts do not fit each other."""
        if not self.tasks:
            raise ValueError("tasks is empty, expected at least one task")
        for task in self.tasks:
            get_task(task)
        weights = self.task_weights or (1.0,)
        if len(self.task_weights) not in (0, len(self.tasks)) or min(weights) < 0 or not 0 < sum(weights) < math.inf:
            raise ValueError(
                f"task_weights are {self.task_weights}, expected one of 0 or more for each of {self.tasks}"
            )
        if self.ratio_per_batch and self.stratified_ratios:
            raise ValueError(
                "ratio_per_batch is set, expected not with stratified_ratios: a step has one ratio or many"
            )
        if not self.losses:
            raise ValueError("losses are (), expected one or more of refine, mask, reconstruct")
        refines = self.mask_mode == "commit" and any(get_task(task).needs_video for task in self.tasks)
        if set(self.losses) == {"refine"} and not refines:
            raise ValueError("losses are refine alone, expected others too: there is no condition that is refined")
        if self.num_segments not in (0, 2):
            raise ValueError(f"num_segments is {self.num_segments}, expected 0 or 2")
        if self.knows_codebook and self.block != "modern":
            raise ValueError(f"knows_codebook is set, expected not with block {self.block}")
        if self.mask_mode == "prefix" and self.block == "modern":
            raise ValueError(
                "mask_mode is prefix, expected another with block modern, whose latent tokens end a sequence"
            )
        if self.generator == "autoregressive":
            self._check_autoregressive()
        elif self.mask_mode == "prefix" and not self.task_tokens:
            raise ValueError("mask_mode prefix needs the special tokens of a multi-task model: set task_tokens")
        mask_ratio(self.mask_schedule, torch.zeros(()), 1)  # refuses an unknown schedule
        for name in ("label_smoothing", "label_dropout"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected a number in [0, 1]")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay is {self.ema_decay}, expected a number in [0, 1)")

    def _check_autoregressive(self) -> None:
        """Raise ValueError for what only masked transformers have, and for conditions that could not be read."""
        if self.mask_mode != (mode := "prefix" if any(get_task(task).needs_video for task in self.tasks) else "commit"):
            raise ValueError(
                f"mask_mode is {self.mask_mode}, expected {mode} of an autoregressive transformer of these tasks"
            )
        decodings = (self.decoding, *(special.decoding for special in self.task_decoding))
        owners: list[tuple[object, tuple[str, ...]]] = [(self, OF_MASKING), *((one, OF_ORDER) for one in decodings)]
        for owner, names in owners:
            for name in names:
                if (value := getattr(owner, name)) != getattr(type(owner), name):  # its default
                    raise ValueError(f"{name} is {value}, which is nothing to an autoregressive transformer")


OF_MASKING = (
    *("block", "knows_codebook", "num_segments"),
    *("mask_schedule", "ratio_per_batch", "stratified_ratios", "losses"),
)
"""Fields of `TransformerRun` that are of masked transformers alone."""
OF_ORDER = tuple(option.name for option in fields(Decoding) if option.name not in OF_TOKENS)
"""Fields of `Decoding` that are."""
