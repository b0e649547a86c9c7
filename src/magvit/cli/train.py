"""`magvit train`: each recipe is a command whose options are all the fields of its run config."""

from collections.abc import Callable
from dataclasses import dataclass, fields, make_dataclass, replace
from inspect import cleandoc
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from tyro.conf import Suppress, arg

from magvit.cli.shell import check_extra, check_folder, ended_in_words
from magvit.device import keep_freed_memory
from magvit.hub import resolve
from magvit.recipes import TOKENIZER_RECIPES, TRANSFORMER_RECIPES
from magvit.storage import check_kind
from magvit.training.config import TokenizerRun, TransformerRun
from magvit.training.machine import THIS_MACHINE, Machine

Run = TokenizerRun | TransformerRun
SHOWN = ("loop", "data", "tokenizer", "tasks", "token_cache", "init_from")
"""The fields of a run that `--help` shows; of these a tokenizer's size is left out as well."""


@dataclass(frozen=True)
class Train:
    """One training run, ready to start."""

    config: Run
    output: Path
    resume: bool
    machine: Machine

    def run(self) -> None:
        """Train. Exit code 1 if the run stopped because its numbers went wrong."""
        check_folder(self.output)
        check_extra("train", "lightning")
        check_kind(self.output, self.config.kind)
        if isinstance(self.config, TokenizerRun) and self.config.init_from:
            resolve(self.config.init_from)
        from magvit.training.train_tokenizer import train_tokenizer
        from magvit.training.train_transformer import train_transformer

        keep_freed_memory()
        options: dict[str, Any] = {"resume": self.resume, "machine": self.machine}
        with ended_in_words():
            if isinstance(self.config, TokenizerRun):
                train_tokenizer(self.config, self.output, **options)
            else:
                train_transformer(self.config, self.output, **options)


def command(recipe: Callable[[], Run], default_output: Path, basic: bool) -> Callable[..., Train]:
    """The command of one recipe: its config's fields become options, with the recipe's values as defaults."""
    default: Any = recipe()
    if basic:
        default = _shown(type(default))(**vars(default))
    if isinstance(default, TokenizerRun):  # unless an option says otherwise, this follows the data's clip shape
        object.__setattr__(default, "discriminator", replace(default.discriminator, clip_shape=None))

    def parse(
        output: Path = default_output,
        data: str | None = None,
        resume: bool = False,
        seed: int | None = None,
        num_workers: int | None = None,
        machine: Machine = THIS_MACHINE,
        config: Any = default,
    ) -> Train:
        """Filled in below.

        Args:
            output: Run folder: model/, checkpoints/, samples/, metrics.jsonl.
            data: Folder of clips, classes in sub-folders, or folder or URL of shards; short for --data.folder.
            resume: Go on from the newest checkpoint in the run folder, or start if there is none.
            seed: Short for --loop.seed.
            num_workers: Short for --loop.num-workers.
            machine: Where to run.
            config: The run.
        """
        short: dict[str, Any] = {"seed": seed, "num_workers": num_workers}
        short = {name: value for name, value in short.items() if value is not None}
        for name, value in short.items():
            _check_short(name, value, f"loop.{name}", getattr(config.loop, name), getattr(default.loop, name))
        if data is not None:
            _check_short("data", data, "data.folder", config.data.folder, default.data.folder)
            config = replace(config, data=config.data.from_folder(data))
        loop = replace(config.loop, **short)
        return Train(replace(config, loop=loop), output, resume, machine)

    parse.__annotations__["config"] = Annotated[type(default), arg(name="")]
    parse.__annotations__["machine"] = Annotated[Machine, arg(name="")]
    more = "\n\n--help-all shows all options, which are all the fields of the run." if basic else ""
    parse.__doc__ = (
        cleandoc(recipe.__doc__ or "") + more + cleandoc(parse.__doc__ or "").removeprefix("Filled in below.")
    )
    return parse


def _check_short(name: str, value: Any, long_name: str, long_value: Any, default: Any) -> None:
    """ValueError where an option's long form, which is not its default, says something else than its short one."""
    if long_value not in (default, value):
        raise ValueError(f"{name} is {value} and {long_name}, for which it is short, {long_value}: give one of them")


def _shown(kind: type) -> type:
    """A run config of which the help shows the basic fields alone."""
    hints = get_type_hints(kind)
    shown = [name for name in SHOWN if name != "tokenizer" or hints[name] is str]
    hidden = [field for field in fields(kind) if field.name not in shown]
    made = [(field.name, Annotated[hints[field.name], Suppress], field) for field in hidden]
    return make_dataclass(kind.__name__, made, bases=(kind,), frozen=True)


def commands(basic: bool) -> dict[str, Callable[..., Train]]:
    """By their names, without `magvit`. For `--help`, `basic` ones hide what is seldom changed."""
    made: dict[str, Callable[..., Train]] = {}
    for name, stage_1 in TOKENIZER_RECIPES.items():
        output = Path("runs") / (f"{name}-tokenizer" if name in TRANSFORMER_RECIPES else name)
        made[f"train tokenizer {name}"] = command(stage_1, output, basic)
    for name, stage_2 in TRANSFORMER_RECIPES.items():
        made[f"train transformer {name}"] = command(stage_2, Path("runs") / name, basic)
    return made
