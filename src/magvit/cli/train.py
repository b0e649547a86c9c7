"""`magvit train`: each recipe is a sub-command whose options are all the fields of its run config."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from inspect import cleandoc
from pathlib import Path
from typing import Annotated, TypeVar

import tyro

from magvit.cli.shell import check_folder
from magvit.recipes import TOKENIZER_RECIPES, TRANSFORMER_RECIPES
from magvit.training.config import TokenizerRun, TransformerRun
from magvit.training.engine import THIS_MACHINE, Machine
from magvit.training.guards import TrainingStopped
from magvit.training.processes import FailedElsewhere, is_first_process
from magvit.training.train_tokenizer import train_tokenizer
from magvit.training.train_transformer import train_transformer

Run = TypeVar("Run", TokenizerRun, TransformerRun)


@dataclass(frozen=True)
class Train:
    """One training run, ready to start."""

    start: Callable[[], Path]
    output: Path

    def run(self) -> None:
        """Train. Exit code 1 if the run stopped because its numbers went wrong."""
        check_folder(self.output)
        try:
            self.start()
        except FailedElsewhere:
            pass  # quietly: the launcher kills the first process, which speaks, when another fails before it
        except KeyboardInterrupt:
            if is_first_process():
                raise
        except TrainingStopped as stopped:
            if is_first_process():
                print(f"magvit: {stopped}", file=sys.stderr)
                raise SystemExit(1) from None


def command(recipe: Callable[[], Run], train: Callable[..., Path], default_output: Path) -> Callable[..., Train]:
    """The command of one recipe: its config's fields become options, with the recipe's values as defaults."""
    default: Run = recipe()

    def parse(
        config: Run = default,  # type: ignore[assignment]
        output: Path = default_output,
        data: str | None = None,
        resume: bool = False,
        seed: int | None = None,
        machine: Machine = THIS_MACHINE,
    ) -> Train:
        """Filled in below.

        Args:
            config: The run.
            output: Run folder: model/, checkpoints/, samples/, metrics.jsonl.
            data: Folder of clips, classes in sub-folders, or folder or URL of shards; short for --data.folder.
            resume: Go on from the newest checkpoint in the run folder, or start if there is none.
            seed: Short for --loop.seed.
            machine: Where to run.
        """
        if data is not None:
            config = replace(config, data=config.data.from_folder(data))
        if seed is not None:
            config = replace(config, loop=replace(config.loop, seed=seed))
        return Train(lambda: train(config, output, resume=resume, machine=machine), output)

    parse.__annotations__["config"] = Annotated[type(default), tyro.conf.arg(name="")]
    parse.__annotations__["machine"] = Annotated[Machine, tyro.conf.arg(name="")]
    parse.__doc__ = cleandoc(recipe.__doc__ or "") + cleandoc(parse.__doc__ or "").removeprefix("Filled in below.")
    return parse


app = tyro.extras.SubcommandApp()
_tokenizer, _transformer = tyro.extras.SubcommandApp(), tyro.extras.SubcommandApp()
app.command(_tokenizer, name="tokenizer", help="Stage 1, by one of the recipes.")
app.command(_transformer, name="transformer", help="Stage 2, by one of the recipes.")
for _name, _stage1 in TOKENIZER_RECIPES.items():
    _tokenizer.command(name=_name)(
        command(
            _stage1, train_tokenizer, Path("runs") / (f"{_name}-tokenizer" if _name in TRANSFORMER_RECIPES else _name)
        )
    )
for _name, _stage2 in TRANSFORMER_RECIPES.items():
    _transformer.command(name=_name)(command(_stage2, train_transformer, Path("runs") / _name))
