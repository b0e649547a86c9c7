"""MAGVIT, the Masked Generative Video Transformer (Yu et al., CVPR 2023, arXiv 2212.05199), in PyTorch.

`import magvit` is quick: the public names are imported when they are first asked for.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from magvit.editing.applications import animate, panorama, remove, stop_motion
    from magvit.editing.edit import edit, extend
    from magvit.pipeline import MagvitPipeline
    from magvit.tasks import TASKS
    from magvit.tokenizer.model import VideoTokenizer
    from magvit.transformer import MaskedTransformer
    from magvit.video import read_video, write_video

__all__ = [
    "TASKS",
    "MagvitPipeline",
    "MaskedTransformer",
    "VideoTokenizer",
    "__version__",
    "animate",
    "edit",
    "extend",
    "panorama",
    "read_video",
    "remove",
    "stop_motion",
    "write_video",
]

_HOME = {
    "MagvitPipeline": "magvit.pipeline",
    "MaskedTransformer": "magvit.transformer",
    "TASKS": "magvit.tasks",
    "VideoTokenizer": "magvit.tokenizer.model",
    "animate": "magvit.editing.applications",
    "edit": "magvit.editing.edit",
    "extend": "magvit.editing.edit",
    "panorama": "magvit.editing.applications",
    "read_video": "magvit.video",
    "remove": "magvit.editing.applications",
    "stop_motion": "magvit.editing.applications",
    "write_video": "magvit.video",
}

try:
    __version__ = version("magvit")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0+unknown"


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'magvit' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
