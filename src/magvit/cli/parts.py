"""Commands whose work can be shared: `--devices N` in processes on one machine, `--part I N` on machines with a common
folder. Such a command is a dataclass with the fields `devices`, `device`, `part` and `output`, a folder of files
`..._NUMBER.safetensors` or `NUMBER.safetensors`, of which each part writes every n-th.
"""

import logging
import re
import sys
from dataclasses import replace
from typing import Any

from magvit.cli.shell import is_told, sentence


def check_parts(command: Any) -> None:
    """Raise ValueError where the fields are out of range or exclude each other."""
    devices, (number, count) = command.devices, command.part
    if devices < 1:
        raise ValueError(f"devices is {devices}, expected at least 1")
    if not 0 <= number < count:
        raise ValueError(f"part is {number} of {count}, expected 0 to N - 1 of N")
    if devices > 1 and (count > 1 or ":" in command.device):
        raise ValueError(f"devices is {devices}: give it without a part, and without the number of a device")


def wrote(command: Any) -> str:
    """What to say in the end: all was written, or one part, or that this has none of so few files."""
    output, (number, count) = command.output, command.part
    if count == 1:
        return f"wrote {output}"
    numbers = {int(re.findall(r"\d+", path.stem)[-1]) for path in output.rglob("*[0-9].safetensors")}
    if any(file % count == number for file in numbers):
        return f"wrote part {number} of {count} of {output}"
    return f"wrote nothing: part {number} of {count} of {output} is empty, as there are fewer files than parts"


def compute_parts(command: Any) -> None:
    """Let `devices` processes do `command.compute()`, each its part, on its share of the CPU cores and its own GPU.

    Raises:
        OSError: a process was ended from outside.
        SystemExit: one failed, and has said why.
    """
    import torch
    from torch.multiprocessing.spawn import ProcessExitedException, spawn

    threads = max(1, torch.get_num_threads() // command.devices)
    logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)
    try:
        spawn(_compute_part, (replace(command, devices=1), command.devices, threads), command.devices)
    except ProcessExitedException as ended:
        if ended.signal_name:
            raise OSError(f"a process was ended by {ended.signal_name}; for want of memory?") from None
        raise SystemExit(ended.exit_code) from None  # it has said why


def _compute_part(number: int, command: Any, count: int, threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
    device = command.device
    if device in ("auto", "cuda") and torch.cuda.is_available():
        device = f"cuda:{number % torch.cuda.device_count()}"
    try:
        replace(command, part=(number, count), device="cpu" if device == "auto" else device).compute()
    except (ValueError, OSError, MemoryError, RuntimeError) as error:
        if not is_told(error):
            raise
        print(f"magvit: {sentence(error)}", file=sys.stderr)
        sys.exit(2)
