"""The `magvit` command: reads the command line, runs one command, turns wrong input into one line.

Each command is a small dataclass with a `run` method: tyro makes the options from its fields, and parsing is over
before anything runs. The commands import torch and the models themselves, so that `magvit --help` is quick.
"""

import io
import os
import re
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr
from difflib import get_close_matches
from typing import Protocol, runtime_checkable

import tyro

from magvit import __version__
from magvit.cli.applications import Animate, Panorama, Remove, StopMotion
from magvit.cli.benchmark import Efficiency
from magvit.cli.commands import Demo, Generate, Reconstruct, TrainHelp
from magvit.cli.convert import Official
from magvit.cli.data import Prepare
from magvit.cli.doctor import Doctor
from magvit.cli.editing import Extend
from magvit.cli.evaluate import Compare, Evaluate
from magvit.cli.presets import Presets
from magvit.cli.reproduce import Reproduce
from magvit.cli.serve import Serve
from magvit.cli.shard import Shard
from magvit.cli.shell import is_told, sentence
from magvit.cli.tokenize import Tokenize
from magvit.cli.tokens import Decode, Encode


@runtime_checkable
class Command(Protocol):
    """What parsing gives: something to run."""

    def run(self) -> None:
        """Run the command."""


COMMANDS: Mapping[str, Callable[..., Command]] = {
    "demo": Demo,
    "generate": Generate,
    "extend": Extend,
    "animate": Animate,
    "panorama": Panorama,
    "stop-motion": StopMotion,
    "remove": Remove,
    "reconstruct": Reconstruct,
    "encode": Encode,
    "decode": Decode,
    "presets": Presets,
    "train": TrainHelp,
    "evaluate": Evaluate,
    "compare": Compare,
    "serve": Serve,
    "reproduce": Reproduce,
    "doctor": Doctor,
    "benchmark efficiency": Efficiency,
    "shard": Shard,
    "tokenize": Tokenize,
    "data prepare": Prepare,
    "convert official": Official,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (`sys.argv` by default) and return the exit code.

    0 is success, 1 a run that stopped itself, faults that the doctor found or a folder of clips of which some failed, 2
    wrong input, told in one line on standard error, and 130 an interruption. A bug keeps its traceback;
    `MAGVIT_DEBUG=1` shows those of wrong input too. A warning is one line on standard error.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a sign must not end the work
    warnings.formatwarning = lambda message, *_: f"magvit: {message}\n"
    try:
        parse_arguments(list(sys.argv[1:] if arguments is None else arguments)).run()
    except SystemExit as end:
        return 0 if end.code is None else int(end.code)
    except KeyboardInterrupt:
        print("magvit: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has left, as in `magvit presets | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (ValueError, OSError, ImportError, MemoryError, RuntimeError) as error:
        if not is_told(error) or os.environ.get("MAGVIT_DEBUG") == "1":
            raise
        print(f"magvit: {sentence(error)}", file=sys.stderr)
        return 2
    return 0


def parse_arguments(arguments: list[str]) -> Command:
    """The command that was asked for.

    Raises:
        ValueError: there is no such command, or its arguments are wrong; one sentence.
        SystemExit: help or the version was asked for, and printed.
    """
    if arguments == ["--version"]:
        print(f"magvit {__version__}")
        raise SystemExit(0)
    commands, asks_help = COMMANDS, {"-h", "--help"} & {*arguments}
    if arguments[:1] == ["train"]:  # its options are made of the recipes, which need torch
        from magvit.cli import train

        commands = train.commands(basic=bool(asks_help))
    words: list[str] = []
    while (name := " ".join(words)) not in commands:
        inside = {other: command for other, command in commands.items() if other.split()[: len(words)] == words}
        known = list(dict.fromkeys(other.split()[len(words)] for other in inside))
        word = next(iter(arguments[len(words) :]), None)
        if word in ("-h", "--help", "--help-all"):
            print(_listing(name, inside))
            raise SystemExit(0)
        if word not in known:
            found = f"unknown command {f'{name} {word}'.strip()!r}" if word else "no command is given"
            if near := get_close_matches(word or "", known, 1):
                raise ValueError(f"{found}: did you mean {near[0]}?")
            raise ValueError(f"{found}, expected one of {', '.join(known)}")
        words.append(word)
    return _parsed(commands[name], f"magvit {name}", arguments[len(words) :])


def _listing(name: str, commands: Mapping[str, Callable[..., Command]]) -> str:
    """One line for each command."""
    width = max(map(len, commands)) + 2
    lines = [f"  • {other:{width}}{(command.__doc__ or '').splitlines()[0]}" for other, command in commands.items()]
    usage = ["usage: magvit", name, "COMMAND ..."]
    about = "MAGVIT, the Masked Generative Video Transformer: ten video tasks with one model."
    more = "magvit COMMAND --help explains a command, magvit --version tells the version."
    return "\n".join([" ".join(filter(None, usage)), "", about, "", *lines, "", more])


def _parsed(command: Callable[..., Command], prog: str, arguments: list[str]) -> Command:
    """The command with its options. What tyro says about wrong ones, a box of lines, becomes one ValueError."""
    arguments = ["--help" if word == "--help-all" else word for word in arguments]
    box = io.StringIO()
    try:
        with redirect_stderr(box):
            return tyro.cli(command, prog=prog, args=arguments)
    except SystemExit as end:
        if end.code in (0, None):
            raise
        raise ValueError(_unboxed(box.getvalue())) from None


def _unboxed(box: str) -> str:
    """One sentence of a tyro error box: prose and lists of each of its sections, without the options' help texts."""
    sections: list[list[str]] = [[]]
    for line in re.sub(r"\x1b\[[0-9;]*m", "", box).replace("│", " ").splitlines():
        if not line.startswith("  "):  # the frame, and the title, which the text repeats
            continue
        text = line[2:].rstrip()
        if not text.strip("─-"):
            sections.append([])
        elif not text.startswith(" " * 8):
            sections[-1].append(text)
    told = []
    for section in sections:
        prose = " ".join(line for line in section if not line.startswith(" "))
        listed = ", ".join(line.strip() for line in section if line.startswith(" "))
        if prose and not prose.startswith(("For full helptext", "Argument helptext")):
            told.append(f"{prose} {listed}".rstrip())
    # An option's name stays; a config's is tyro's own, inner one.
    return re.sub(r"Error parsing (?:(--\S+: )|\S+: )", r"\1", "; ".join(told)) or "wrong arguments"
