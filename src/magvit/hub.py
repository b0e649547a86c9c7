"""Model folders: `config.json` and one `NAME.safetensors` per network, written whole or not at all, read strictly.

A model is found by its folder, by the name of a packaged one, or on the Hugging Face hub. Nothing is loaded by halves.
"""

import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from magvit import storage
from magvit.storage import CONFIG
from magvit.weights import build, check_shapes, load_state

PACKAGED = Path(__file__).parent / "models"

Network = TypeVar("Network", bound=nn.Module)


CARD = "README.md"
HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
OF_A_MODEL = [CONFIG, "*.safetensors", CARD]


def save_folder(
    folder: str | Path, config: Mapping[str, Any], tensors: Mapping[str, Mapping[str, Tensor]], card: str = ""
) -> None:
    """Write `config.json` and a `NAME.safetensors` for each entry of `tensors` into `folder`, which may exist.

    Each file is written under another name and then renamed, the config last: a folder with a config is complete. A
    card that is there already, which somebody may have written by hand, stays.

    Raises:
        OSError: the folder cannot be written.
        ValueError: it is one of another kind.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    storage.check_kind(folder, "model")
    for name, state in tensors.items():
        storage.save_tensors(folder / f"{name}.safetensors", state)
    if card and not (folder / CARD).exists():
        with storage.written_whole(folder / CARD) as path:
            path.write_text(card, encoding="utf-8")
    storage.save_config(folder, "model", config)


def load_tensors(folder: str | Path, name: str) -> dict[str, Tensor]:
    """The tensors of `folder/NAME.safetensors`, on the CPU, in the precision they were stored in.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged.
    """
    return storage.load_tensors(_weights_of(Path(folder), name))


def stored(network: nn.Module, dtype: torch.dtype) -> dict[str, Tensor]:
    """The tensors of a network as they go into a file: those of floating point in one precision."""
    state = network.state_dict()
    return {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in state.items()}


def load_network(
    factory: Callable[[], Network], folder: str | Path, name: str, dtype: torch.dtype = torch.float32
) -> Network:
    """The network that `factory` makes, on the CPU, with the weights of `folder/NAME.safetensors` in one precision.

    What a config says of sizes is believed only after the head of the file has told the same shapes, so a false one
    costs neither time nor memory; and no initial weights are drawn, only to be replaced.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, does not fit the network, or holds anything but finite numbers.
    """
    path = _weights_of(Path(folder), name)
    shapes = storage.tensor_shapes(path)
    network = build(factory, len(shapes), path)
    if dtype != torch.float32:  # PyTorch's own, in which networks are made
        network.to(dtype)
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


def resolve(name_or_path: str | Path, revision: str | None = None) -> Path:
    """Find a model folder: a local folder, else a packaged model's name, else a hub id `user/name` (downloaded).

    Args:
        name_or_path: the one or the other.
        revision: branch, tag or commit on the hub; by default the newest state of its main branch.

    Raises:
        FileNotFoundError: it is none of these.
        OSError: the download is not possible.
        ValueError: it is a folder of another kind, such as that of a run, or a revision is told of what is here.
    """
    name = str(name_or_path)
    path = Path(name_or_path).expanduser()
    found = path if path.is_dir() else PACKAGED / name if name in packaged_models() else None
    if found is not None:
        if revision is not None:
            raise ValueError(f"revision is {revision!r}, but {name} is here and not on the hub: expected none")
        storage.check_kind(found, "model")
        return found
    if path.exists():
        raise NotADirectoryError(f"{name} is a file, expected a model folder")
    if isinstance(name_or_path, str) and HUB_ID.fullmatch(name):
        with _hub(f'"{name}" is not a folder here, and the hub did not give it') as client:
            return Path(client.snapshot_download(name, revision=revision, allow_patterns=OF_A_MODEL))
    known = ", ".join(packaged_models()) or "none in this installation"
    raise FileNotFoundError(f'no model "{name}": there is no such folder, and the packaged models are: {known}')


def revision_of(folder: Path) -> dict[str, str]:
    """The commit that a folder of the hub's cache is of, `.../snapshots/COMMIT`; nothing for others."""
    return {"revision": folder.name} if folder.parent.name == "snapshots" else {}


class Pushed:
    """What has `save_pretrained(folder, dtype, license=, name=)`, and so can go to the hub."""

    save_pretrained: Callable[..., None]

    def push_to_hub(
        self,
        repo_id: str,
        *,
        revision: str | None = None,
        private: bool | None = None,
        token: str | None = None,
        commit_message: str = "Model of magvit",
        dtype: torch.dtype = torch.float32,
        license: str = "unknown",
    ) -> str:
        """Put the model folder on the Hugging Face hub; a card that is there stays.

        Args:
            repo_id: `user/name`, made if need be.
            revision: the branch that is written, made if need be; by default the main one.
            private: whether a new repository is private; by default as the user's account says.
            token: of the account; by default the one that `hf auth login` stored.
            commit_message: one line.
            dtype, license: as for `save_pretrained`.

        Returns:
            The address of what was written.

        Raises:
            OSError: the hub does not take it.
            ValueError: the id or the licence is none.
        """
        if not HUB_ID.fullmatch(repo_id):
            raise ValueError(f"repo_id is {repo_id!r}, expected user/name")
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder, dtype, license=license, name=repo_id)
            with _hub(f'"{repo_id}" was not written to the hub') as client:
                api = client.HfApi(token=token)
                api.create_repo(repo_id, private=private, exist_ok=True)
                if revision is not None:
                    api.create_branch(repo_id, branch=revision, exist_ok=True)
                kept = [CARD] if api.file_exists(repo_id, CARD, revision=revision) else []
                done = api.upload_folder(
                    repo_id=repo_id,
                    folder_path=folder,
                    commit_message=commit_message,
                    revision=revision,
                    ignore_patterns=kept,
                )
        return str(done.commit_url)


@contextmanager
def _hub(start: str) -> Iterator[Any]:
    """The package that talks to the hub. Whatever goes wrong is an OSError of one sentence that begins so."""
    try:
        import huggingface_hub
    except ImportError as error:
        raise OSError(f'{start}, which needs: pip install "magvit[hub]"') from error
    try:
        yield huggingface_hub
    except Exception as error:  # unknown, private, offline, no space: many types
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise OSError(f"{start}: {reason}") from error
