"""Model folders: `config.json` and one `NAME.safetensors` per network, written whole or not at all, read strictly.

A model is found by its folder, by the name of a packaged one, or on the Hugging Face hub. Nothing is loaded by halves.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor, nn

from magvit import storage
from magvit.storage import CONFIG
from magvit.weights import build, check_shapes, load_state

PACKAGED = Path(__file__).parent / "models"

Network = TypeVar("Network", bound=nn.Module)


def save_folder(folder: str | Path, config: Mapping[str, Any], tensors: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Write `config.json` and a `NAME.safetensors` for each entry of `tensors` into `folder`, which may exist.

    Each file is written under another name and then renamed, the config last: a folder with a config is complete.

    Raises:
        OSError: the folder cannot be written.
        ValueError: it is one of another kind.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    storage.check_kind(folder, "model")
    for name, state in tensors.items():
        storage.save_tensors(folder / f"{name}.safetensors", state)
    storage.save_config(folder, "model", config)


def load_tensors(folder: str | Path, name: str) -> dict[str, Tensor]:
    """The tensors of `folder/NAME.safetensors`, on the CPU, in the precision they were stored in.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged.
    """
    return storage.load_tensors(_weights_of(Path(folder), name))


def load_network(factory: Callable[[], Network], folder: str | Path, name: str) -> Network:
    """The network that `factory` makes, on the CPU, with the weights of `folder/NAME.safetensors`.

    What a config says of sizes is believed only after the head of the file has told the same shapes, so a false one
    costs neither time nor memory; and no initial weights are drawn, only to be replaced.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, does not fit the network, or holds anything but finite numbers.
    """
    path = _weights_of(Path(folder), name)
    shapes = storage.tensor_shapes(path)
    network = build(factory, len(shapes), path)
    check_shapes(network, shapes, path)
    load_state(network, storage.load_tensors(path), path)
    return network


def _weights_of(folder: Path, name: str) -> Path:
    path = folder / f"{name}.safetensors"
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist, so the weights of the {name} are missing")
    return path


def packaged_models() -> list[str]:
    """The names of the models that come inside this package."""
    return sorted(path.parent.name for path in PACKAGED.glob(f"*/{CONFIG}"))


def resolve(name_or_path: str | Path) -> Path:
    """Find a model folder: a local folder, else a packaged model's name, else a hub id `user/name` (downloaded).

    Raises:
        FileNotFoundError: it is none of these.
        OSError: the download is not possible.
        ValueError: it is a folder of another kind, such as that of a run.
    """
    name = str(name_or_path)
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        storage.check_kind(path, "model")
        return path
    if path.exists():
        raise NotADirectoryError(f"{name} is a file, expected a model folder")
    if name in packaged_models():
        return PACKAGED / name
    if isinstance(name_or_path, str) and re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name):
        return _download(name)
    known = ", ".join(packaged_models()) or "none in this installation"
    raise FileNotFoundError(f'no model "{name}": there is no such folder, and the packaged models are: {known}')


def _download(repository: str) -> Path:
    start = f'"{repository}" is not a folder here, and'
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise OSError(f'{start} to look for it on the hub needs: pip install "magvit[hub]"') from error
    try:
        return Path(snapshot_download(repository, allow_patterns=[CONFIG, "*.safetensors", "README.md"]))
    except (OSError, ValueError, RuntimeError) as error:  # unknown, private, offline, no space: many types
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise OSError(f"{start} the hub did not give it: {reason}") from error
