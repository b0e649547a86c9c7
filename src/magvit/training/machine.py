"""Where a run runs."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Machine:
    """Where a run runs; the same run on another machine is the same run.

    Attributes:
        device: auto, cpu, cuda or mps.
        devices: processes on each node. Under torchrun its own numbers count instead.
        nodes: machines.
        strategy: ddp gives every process the whole network, fsdp shares out the transformer's layers (stage 2).
    """

    device: str = "auto"
    devices: int = 1
    nodes: int = 1
    strategy: Literal["ddp", "fsdp"] = "ddp"

    def __post_init__(self) -> None:
        """Raise ValueError for counts below one."""
        for name in ("devices", "nodes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")


THIS_MACHINE = Machine()
