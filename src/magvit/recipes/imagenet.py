"""imagenet: the 2D-VQ that every 3D-VQ of the paper is inflated from, trained on single images of any folder.

The paper says "a 2D-VQ trained on ImageNet with this setup" (appendix B.2), and neither it nor the release how long:
batch 256 is the official 2D-VQ's, 100 epochs of the 1,281,167 images are a guess. Classes are not used. Sizes B and
L, for 128x128 and (BAIR) 64x64 clips, differ in nothing else.
"""

from functools import partial

from magvit.data.loader import DataConfig
from magvit.recipes.paper import tokenizer_run
from magvit.training.config import TokenizerRun

DATA = DataConfig(clip_shape=(1, 128, 128), resize="tf_bilinear", labels=False)
DATA_64 = DataConfig(clip_shape=(1, 64, 64), resize="tf_bilinear", labels=False)

_image_run = partial(tokenizer_run, num_examples=1_281_167, epochs=100, micro_batch_size=32)


def tokenizer_2d_b() -> TokenizerRun:
    """2D-VQ-B on images of 128x128.

    magvit train tokenizer 2dvq-b-imagenet --data ImageNet/train --output runs/2dvq-b-imagenet

    Hardware: 8 GPUs of 24 GB (a guess). Hours and metric: not yet run (2026-11-22); the paper gives none.
    Guesses: 100 epochs, LeCam's weight 0.001.
    """
    return _image_run("2dvq-b", DATA)


def tokenizer_2d_l() -> TokenizerRun:
    """2D-VQ-L on images of 128x128.

    magvit train tokenizer 2dvq-l-imagenet --data ImageNet/train --output runs/2dvq-l-imagenet

    Hardware: 8 GPUs of 40 GB (a guess). Hours and metric: not yet run (2026-11-22); the paper gives none.
    Guesses: 100 epochs, LeCam's weight 0.001.
    """
    return _image_run("2dvq-l", DATA)


def tokenizer_2d_b_64() -> TokenizerRun:
    """2D-VQ-B on images of 64x64.

    magvit train tokenizer 2dvq-b-64-imagenet --data ImageNet/train --output runs/2dvq-b-64-imagenet

    Hardware: 4 GPUs of 24 GB (a guess). Hours and metric: not yet run (2026-11-22); the paper gives none.
    Guesses: 100 epochs, LeCam's weight 0.001.
    """
    return _image_run("2dvq-b-64", DATA_64)


def tokenizer_2d_l_64() -> TokenizerRun:
    """2D-VQ-L on images of 64x64.

    magvit train tokenizer 2dvq-l-64-imagenet --data ImageNet/train --output runs/2dvq-l-64-imagenet

    Hardware: 8 GPUs of 24 GB (a guess). Hours and metric: not yet run (2026-11-22); the paper gives none.
    Guesses: 100 epochs, LeCam's weight 0.001.
    """
    return _image_run("2dvq-l-64", DATA_64)
