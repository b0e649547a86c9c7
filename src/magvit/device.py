"""The device that somebody asks for, once it is known to be there."""

import torch


def usable_device(name: str | torch.device) -> torch.device:
    """A device of this machine; `auto` is the GPU if there is one, else the CPU.

    Raises:
        ValueError: it cannot be used here; one sentence says why.
    """
    try:
        automatic = "cuda" if torch.cuda.is_available() else "cpu"
        device = torch.device(automatic if name == "auto" else name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).split("\n")[0].split(". ")[0]  # PyTorch goes on for paragraphs
        raise ValueError(f"device {str(name)!r} cannot be used here: {reason}") from error
    if device.type == "meta":
        raise ValueError("device 'meta' cannot be used here: it holds no numbers")
    return device
