"""`magvit serve`: a page in the browser."""

import ipaddress
import math
import socket
import sys
from dataclasses import dataclass

from tyro.conf import OmitArgPrefixes

from magvit.cli.shell import ModelOptions, check_extra, is_told, sentence


@dataclass(frozen=True)
class Serve:
    """Show a page in the browser to play with a model; needs the extra `demo`.

    For example

        magvit serve
        magvit serve --model runs/mine/model --port 8000
    """

    model: OmitArgPrefixes[ModelOptions] = ModelOptions()
    """The model."""
    host: str = "127.0.0.1"
    """Address to listen at. Any other than this machine's own lets others in, and there is no password."""
    port: int = 7860
    """Port to listen at."""
    max_mb: float = 50.0
    """Megabytes of an upload."""
    max_seconds: float = 20.0
    """Seconds of an uploaded clip."""
    max_waiting: int = 32
    """Visitors that may wait for a result; further ones are told to come back."""
    per_minute: int = 30
    """Results, and uploads, that one address may ask for in a minute."""

    def run(self) -> None:
        """Serve until interrupted."""
        numbers = {"max_mb": self.max_mb, "max_seconds": self.max_seconds}
        numbers |= {"max_waiting": self.max_waiting, "per_minute": self.per_minute}
        for name, value in numbers.items():
            if not 0 < value < math.inf:
                raise ValueError(f"{name} is {value}, expected more than 0")
        if not 0 < self.port < 65536:
            raise ValueError(f"port is {self.port}, expected 1 to 65535")
        check_extra("demo", "gradio", "av", "PIL")
        if not self.model.config().tasks:
            raise ValueError(f"{self.model.model} holds a tokenizer only, expected a model with a transformer")
        from magvit.generator_config import AutoregressiveGenerator

        if isinstance(self.model.config().generator, AutoregressiveGenerator):
            raise ValueError(f"{self.model.model} is autoregressive, expected a masked model: the page shows steps")
        _check_free(self.host, self.port)
        if not is_local(self.host):
            told = "others can reach this page, which has no password: anyone who does can use this machine's time"
            print(f"magvit: at {self.host} {told}", file=sys.stderr)
        from magvit.device import keep_freed_memory
        from magvit.serve.server import serve
        from magvit.serve.uploads import Limits

        keep_freed_memory()
        limits = Limits(self.max_mb, self.max_seconds, self.per_minute, self.max_waiting)
        pipe = self.model.load()
        serve(pipe, self.host, self.port, limits, lambda error: sentence(error) if is_told(error) else None)


def is_local(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_free(host: str, port: int) -> None:
    """OSError if nothing can listen there."""
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
        except OSError as error:
            raise OSError(f"cannot listen at {host}:{port}: {error.strerror}") from error
