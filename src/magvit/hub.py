"""Model folders: `config.json` and one `NAME.safetensors` per network, written whole or not at all, read strictly.

Whatever is wrong with a folder is told in one sentence that names the file and the thing: an unknown field, a missing
tensor, a shape that differs. Nothing is loaded by halves. Weights that others published are fetched and read here too.
"""

import dataclasses
import json
import os
import re
import shutil
import socket
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

CONFIG = "config.json"
PACKAGED = Path(__file__).parent / "models"

T = TypeVar("T")


def save_folder(folder: str | Path, config: Mapping[str, Any], tensors: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Write `config.json` and a `NAME.safetensors` for each entry of `tensors` into `folder`, which may exist.

    Each file is written under another name and then renamed, the config last: a folder with a config is complete.

    Raises:
        OSError: the folder cannot be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, state in tensors.items():
        stored = {key: tensor.detach().cpu().contiguous() for key, tensor in state.items()}
        with written_whole(folder / f"{name}.safetensors") as path:
            try:
                save_file(stored, path, {"format": "pt"})
            except SafetensorError as error:  # what safetensors makes of a full or read-only disk
                raise OSError(f"{folder} cannot be written: {error}") from error
    with written_whole(folder / CONFIG) as path:
        path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary file beside `path`, with its suffix, which is flushed to disk and becomes `path` if all goes well."""
    temporary = path.with_name(f".{socket.gethostname()}-{os.getpid()}.{path.name}")
    try:
        temporary.touch()
        mode = temporary.stat().st_mode
        yield temporary
        temporary.chmod(mode)  # safetensors makes its files private
        _flush(temporary)
        os.replace(temporary, path)
        with suppress(OSError):  # not every system can flush a folder, which makes the renaming last
            _flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def check_space(folder: Path, needed: int, what: str) -> None:
    """OSError, in one sentence, if so many bytes would not fit into a folder."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(f"{folder} has {free / 2**20:,.0f} MiB free, {what} need {needed / 2**20:,.0f}")


def load_config(folder: str | Path) -> dict[str, Any]:
    """The contents of `folder/config.json`.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is not a JSON object.
    """
    path = Path(folder) / CONFIG
    if not path.is_file():
        raise FileNotFoundError(f"{folder} is not a model folder: it has no {CONFIG}")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # bad JSON, bad UTF-8
        raise ValueError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(config, dict):
        raise ValueError(f"{path} holds a JSON {type(config).__name__}, expected an object")
    return config


def load_tensors(folder: str | Path, name: str) -> dict[str, Tensor]:
    """The tensors of `folder/NAME.safetensors`, on the CPU, in the precision they were stored in.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged.
    """
    path = Path(folder) / f"{name}.safetensors"
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist, so the weights of the {name} are missing")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is not a readable safetensors file: {error}") from error


def load_state(module: nn.Module, tensors: Mapping[str, Tensor], where: str | Path) -> None:
    """Copy `tensors` into `module`, which must want exactly these names and shapes; its own dtype and device stay.

    Raises:
        ValueError: a tensor is missing, unexpected or of another shape; at most three are named.
    """
    wanted = module.state_dict()
    missing = [name for name in wanted if name not in tensors]
    extra = [name for name in tensors if name not in wanted]
    other = [
        f"{name} {list(tensors[name].shape)} instead of {list(wanted[name].shape)}"
        for name in wanted
        if name in tensors and tensors[name].shape != wanted[name].shape
    ]
    problems = [
        f"{label} {_few(names)}"
        for label, names in (("lacks", missing), ("has unexpected", extra), ("has mis-shaped", other))
        if names
    ]
    if problems:
        raise ValueError(f"{where} does not fit {type(module).__name__}: it {'; it '.join(problems)}")
    module.load_state_dict(dict(tensors))


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def optional(default: T) -> T:
    """A dataclass field that a JSON file may lack: it came after the first files were written, or is seldom needed."""
    return dataclasses.field(default=default, metadata={"optional": True})


def config_from_dict(kind: type[T], values: Any, where: str = CONFIG) -> T:
    """Build the dataclass `kind` from JSON `values`: none unknown, each of its annotated type, and every field present
    but those declared by `optional`, which then take their defaults.

    Understands int, float, str, bool, None, `Literal`, tuples (JSON lists), unions and nested dataclasses.

    Raises:
        ValueError: one sentence with `where` (the file, or file and section), the field and what was expected.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{where} is {values!r}, expected an object with the fields of {kind.__name__}")
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}  # type: ignore[arg-type]
    if unknown := sorted(values.keys() - fields):
        raise ValueError(f"{where} has the unknown field {_quoted(unknown)}, expected {_quoted(sorted(fields))}")
    if missing := sorted(name for name in fields.keys() - values if not fields[name].metadata.get("optional")):
        raise ValueError(f"{where} lacks the field {_quoted(missing)} of {kind.__name__}")
    hints = get_type_hints(kind)
    loaded = {name: _typed(hints[name], value, f"{where}: {name}") for name, value in values.items()}
    try:
        return kind(**loaded)
    except ValueError as error:  # the dataclass's own checks
        raise ValueError(f"{where}: {error}") from error


def _typed(hint: Any, value: Any, where: str) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if dataclasses.is_dataclass(hint):
        return config_from_dict(hint, value, where)  # type: ignore[arg-type]
    if origin in (Union, types.UnionType):
        options = [option for option in args if option is not type(None)]
        if value is None and len(options) < len(args):
            return None
        if len(options) == 1:  # so that the message is about the one thing it can be
            return _typed(options[0], value, where)
        for option in options:
            try:
                return _typed(option, value, where)
            except ValueError:
                continue
    elif origin is Literal:
        if any(value == option and type(value) is type(option) for option in args):
            return value
    elif origin is tuple:
        if isinstance(value, list | tuple):
            each = [args[0]] * len(value) if args[1:] == (Ellipsis,) else list(args)
            if len(each) == len(value):
                return tuple(_typed(item_hint, item, where) for item_hint, item in zip(each, value, strict=True))
    elif hint is float:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    elif type(value) is hint:
        return value
    raise ValueError(f"{where} is {value!r}, expected {_spelled(hint)}")


def _spelled(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint).replace("typing.", "")


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def packaged_models() -> list[str]:
    """The names of the models that come inside this package."""
    return sorted(path.parent.name for path in PACKAGED.glob(f"*/{CONFIG}"))


def resolve(name_or_path: str | Path) -> Path:
    """Find a model folder: a local folder, else a packaged model's name, else a hub id `user/name` (downloaded).

    Raises:
        FileNotFoundError: it is none of these.
        OSError: the download is not possible.
    """
    name = str(name_or_path)
    path = Path(name_or_path).expanduser()
    if path.is_dir():
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


class Published(NamedTuple):
    """A file of weights on the net, its name in the cache, and as much of its SHA-256 as is known."""

    url: str
    file: str
    sha256: str


def fetch(published: Published) -> Path:
    """The file, downloaded once to where `torch.hub` keeps its downloads; with another hash it does not get there.

    Raises:
        OSError: it cannot be had.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / published.file
    if not path.is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(published.url, str(path), published.sha256)
        except (OSError, HTTPException, RuntimeError) as error:  # the last: another hash
            reason = " ".join(str(error).split()) or type(error).__name__
            raise OSError(f"{published.file} could not be fetched from {published.url} ({reason})") from error
    return path


def files_at(path: Path, name: str, suffixes: tuple[str, ...]) -> list[Path]:
    """Where the weights of `name` are: the file `path`, or the files with one of these suffixes in the folder `path`.

    Raises:
        FileNotFoundError: there is nothing at `path`, or no such file in it.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise FileNotFoundError(f"there are no weights of {name} at {path}")
    if files := sorted(file for file in path.iterdir() if file.suffix in suffixes):
        return files
    raise FileNotFoundError(f"the folder {path} holds no {', '.join(suffixes[:-1])} or {suffixes[-1]} file")


def read_together(paths: Iterable[Path], read: Callable[[Path], dict[str, Tensor]]) -> dict[str, Tensor]:
    """All tensors of some files. ValueError if two files hold the same, and what `read` raises."""
    tensors: dict[str, Tensor] = {}
    for path in paths:
        found = read(path)
        if both := sorted(tensors.keys() & found.keys()):
            raise ValueError(f"{path} holds {both[0]} as another file of its folder does")
        tensors |= found
    return tensors


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` file or of a state dict, on the CPU; nothing but tensors is ever unpickled.

    Raises:
        OSError: it is not there or may not be read.
        ValueError: it is damaged or holds something else.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except PermissionError as error:
        raise PermissionError(f"{path} may not be read") from error
    except Exception as error:  # bytes that are no pickle can fail in any way
        raise ValueError(f"{path} is not a readable file of weights ({type(error).__name__})") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{path} holds something other than tensors by name")
    return state
