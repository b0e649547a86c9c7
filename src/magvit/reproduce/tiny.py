"""The small scale: drawn clips of 16x32x32, 64 tokens, and networks that train in minutes on a CPU core.

Data are the drawn robot arm in place of BAIR and of UCF-101, which it resembles in that all eight tasks mean something;
images are frames of other drawn worlds; classes to generate are those of the moving shapes. Distances are of the
features of the in-repo network for the arm, which are not those of FVD. The losses are the paper's without perceptual
network and discriminator, whose time a CPU has not got.
"""

from dataclasses import replace
from functools import partial
from typing import Any, Literal

from magvit.data.loader import DataConfig
from magvit.evaluation.protocols import Protocol, RealSet
from magvit.evaluation.published import BAIR_DEBIASED, BAIR_MULTITASK, SSV2_NINE_TASKS, UCF101, UCF101_RECONSTRUCTION
from magvit.nn.attention import TransformerSize
from magvit.recipes import magvit_tiny
from magvit.reproduce.scale import Scale
from magvit.tasks import EIGHT_TASKS, TEN_TASKS
from magvit.tokenizer import DiscriminatorConfig, TokenizerConfig
from magvit.training.config import LoopConfig, TokenizerRun, TransformerRun
from magvit.training.optim import OptimizerConfig

ARM = DataConfig(clip_shape=(16, 32, 32), synthetic_share=1.0, synthetic="pushing")
SHAPES = replace(ARM, synthetic="shapes")
FRAMES = replace(ARM, clip_shape=(4, 32, 32), stride=3)
IMAGES = replace(ARM, clip_shape=(1, 32, 32), synthetic=("scenes", "shapes", "digits"), labels=False)

B = TransformerSize(hidden_size=128, num_layers=4, num_heads=4, mlp_size=512, dropout=0.0)
L = TransformerSize(hidden_size=192, num_layers=6, num_heads=6, mlp_size=768, dropout=0.0)

CODES: dict[str, Any] = {
    "num_res_blocks": 1,
    "codebook_size": 512,
    "codebook_dim": 16,
    "padding": "zero",
    "norm_groups": 4,
}

# --- Stage 1 --------------------------------------------------------------------------------------------------------


def tokenizer_of_stage_2(dims: Literal[2, 3], data: DataConfig = ARM) -> TokenizerRun:
    """The tokenizer that transformers share: 64 tokens of 4x8x8 pixels, or 256 of 1x8x8 (2D). It starts from principal
    components, which learns most in a few minutes.
    """
    size = TokenizerConfig(
        dims=dims,
        base_channels=128,
        channel_multipliers=(1,),
        temporal_downsample=(),
        haar=(4, 8, 8) if dims == 3 else (1, 8, 8),
        linear_path=True,
        **CODES,
    )
    return replace(_tokenizer(size, data, 1200, 16), quantizer_start=240, condition_share=0.15)


def _tokenizer(size: TokenizerConfig, data: DataConfig, steps: int, batch_size: int) -> TokenizerRun:
    """As the packaged model's, which has neither perceptual network nor discriminator."""
    return replace(
        magvit_tiny.tokenizer(),
        loop=LoopConfig(
            num_steps=steps,
            global_batch_size=batch_size,
            sample_every=steps,
            checkpoint_every=200,
        ),
        data=data,
        tokenizer=size,
        discriminator=DiscriminatorConfig(),
        ema_decay=0.99,
        quantizer_start=0,
        condition_share=0.0,
    )


PAPERS = TokenizerConfig(
    base_channels=32, channel_multipliers=(1, 2, 2), temporal_downsample=(True, True), haar=(1, 2, 2), **CODES
)
"""The paper's design for Table 7, smaller, on Haar coefficients of 2x2 pixels of a frame; 2D and 3D are siblings."""


def compared(
    dims: Literal[2, 3], init_from: str | None, inflation: Literal["central", "average"] = "central"
) -> TokenizerRun:
    """A tokenizer of Table 7. The 2D one sees 4 frames of a clip, for as many steps, as in the paper's recipe."""
    run = _tokenizer(replace(PAPERS, dims=dims), ARM if dims == 3 else FRAMES, 600, 8)
    return replace(run, codebook_init="uniform" if init_from else "kmeans", init_from=init_from, inflation=inflation)


def images() -> TokenizerRun:
    """The 2D tokenizer that others of Table 7 start from, of single images of other worlds."""
    return _tokenizer(replace(PAPERS, dims=2), IMAGES, 1000, 32)


ADAMW = OptimizerConfig(1e-3, betas=(0.9, 0.96), weight_decay=0.045, clip_norm=1.0, warmup_steps=200)

# --- Stage 2 --------------------------------------------------------------------------------------------------------


def transformer(
    tasks: tuple[str, ...],
    tokenizer: str = "3dvq-b-bair",
    size: TransformerSize = B,
    data: DataConfig = ARM,
    **changes: object,
) -> TransformerRun:
    """A transformer with the paper's layers and losses; `changes` are other fields of the run."""
    return TransformerRun(
        loop=LoopConfig(num_steps=1500, global_batch_size=64, log_every=100, sample_every=1500, checkpoint_every=500),
        data=data,
        tokenizer=f"runs/{tokenizer}/model",
        tasks=tasks,
        size=size,
        **{"task_tokens": len(tasks) > 1, "optimizer": ADAMW, **changes},  # type: ignore[arg-type]
    )


FP = ("frame_prediction",)
_cg = partial(transformer, ("class_generation",), "3dvq-b-shapes", data=SHAPES)
_fp, _mt, _ten, _unc = (partial(transformer, tasks) for tasks in (FP, EIGHT_TASKS, TEN_TASKS, ("unconditional",)))
SAMPLES = 512


def _protocol(published: Protocol, **changes: object) -> Protocol:
    """A published protocol on drawn clips that no run has seen, of which the middle of each is taken."""
    return replace(
        published,
        name=f"tiny of {published.name}",
        source=f"ours: {published.name} on drawn clips, with in-repo features",
        num_samples=SAMPLES,
        repeats=1,
        clip_shape=ARM.clip_shape,
        real=RealSet("center", split=""),
        not_exact="",
        **changes,  # type: ignore[arg-type]
    )


OF_ARM = ("pushing_fd", "psnr", "ssim")
PROTOCOLS = {
    "magvit-ucf101": _protocol(UCF101, metrics=("synthetic_fd", "synthetic_accuracy")),
    "magvit-ucf101-reconstruction": _protocol(UCF101_RECONSTRUCTION, metrics=OF_ARM),
    "magvit-bair-debiased": _protocol(BAIR_DEBIASED, metrics=OF_ARM),
    "magvit-bair-multitask": _protocol(BAIR_MULTITASK, metrics=OF_ARM),
    "magvit-ssv2-multitask": _protocol(SSV2_NINE_TASKS, tasks=TEN_TASKS, metrics=OF_ARM),
}

TINY = Scale(
    "tiny",
    models={
        "3dvq-b-bair": partial(tokenizer_of_stage_2, 3),
        "2dvq-b-bair": partial(tokenizer_of_stage_2, 2),
        "magvit-b-unc-bair": _unc,
        "magvit-b-unc-2dvq-bair": partial(_unc, "2dvq-b-bair"),
        "magvit-b-fp-bair": _fp,
        "magvit-l-fp-bair": partial(_fp, size=L),
        "magvit-b-fp-prefix-bair": partial(_fp, mask_mode="prefix", task_tokens=True),
        "magvit-b-fp-mask-bair": partial(_fp, losses=("mask",)),
        "magvit-b-fp-reconstruct-bair": partial(_fp, losses=("mask", "reconstruct")),
        "ar-b-fp-bair": partial(
            _fp, generator="autoregressive", mask_mode="prefix", optimizer=replace(ADAMW, decayed="all")
        ),
        "magvit-b-mt-bair": _mt,
        "magvit-l-mt-bair": partial(_mt, size=L),
        "magvit-b-mt-prefix-bair": partial(_mt, mask_mode="prefix"),
        "magvit-b-mt-mask-bair": partial(_mt, losses=("mask",)),
        "magvit-b-mt-reconstruct-bair": partial(_mt, losses=("mask", "reconstruct")),
        "magvit-b-unc-ssv2": _unc,
        "magvit-b-fp-ssv2": _fp,
        "magvit-b-mt-ssv2": _ten,
        "magvit-l-mt-ssv2": partial(_ten, size=L),
        "2dvq-l-imagenet": images,
        "2dvq-l-scratch-ucf101": partial(compared, 2, None),
        "2dvq-l-ucf101": partial(compared, 2, "runs/2dvq-l-imagenet/model"),
        "3dvq-b-scratch-ucf101": partial(compared, 3, None),
        "3dvq-b-average-ucf101": partial(compared, 3, "runs/2dvq-l-imagenet/model", "average"),
        "3dvq-b-ucf101": partial(compared, 3, "runs/2dvq-l-imagenet/model"),
        "3dvq-b-shapes": partial(tokenizer_of_stage_2, 3, SHAPES),
        "magvit-b-cg-ucf101": partial(_cg, size=B),
        "magvit-l-cg-ucf101": partial(_cg, size=L),
    },
    protocols={name: (protocol,) for name, protocol in PROTOCOLS.items()},
    clips=lambda model: "synthetic:" + ("shapes" if "-cg-" in model else "pushing"),
    token_epochs=8,
)
