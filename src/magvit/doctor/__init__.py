"""`magvit doctor`: looks at an installation, a run folder or a folder of videos, and says what is wrong with it."""

from typing import Literal, NamedTuple

Status = Literal["ok", "warning", "error"]


class Result(NamedTuple):
    """One thing that was looked at: what was found, with the value, and what to do if it is not ok."""

    status: Status
    name: str
    message: str

    def __str__(self) -> str:
        return f"{self.status:8} {self.name:20} {self.message}"
