"""How much of a machine visitors may take: requests in a minute, files for an hour, and what a browser may load."""

import shutil
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

_OWN = "'self' data: blob:"
POLICY = {
    "content-security-policy": f"default-src {_OWN}; script-src {_OWN} 'unsafe-inline' 'unsafe-eval'; "
    f"style-src {_OWN} 'unsafe-inline'; frame-ancestors 'self'; form-action 'self'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
"""Headers of every answer: a browser asks no other machine for anything, whatever the page's libraries would like."""
MINUTE = 60.0


class Rate:
    """So many requests of an address in a minute; `clock` tells seconds."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic):
        self.per_minute, self.clock = per_minute, clock
        self.asked: dict[str, deque[float]] = {}
        self.lock = threading.Lock()

    def allows(self, address: str) -> bool:
        """Whether one more is within the rate; it is counted then."""
        with self.lock:
            now = self.clock()
            for known in [*self.asked]:
                while self.asked[known] and now - self.asked[known][0] >= MINUTE:
                    self.asked[known].popleft()
                if not self.asked[known]:
                    del self.asked[known]
            if len(self.asked.get(address, ())) >= self.per_minute:
                return False
            self.asked.setdefault(address, deque()).append(now)
            return True


class Guard:
    """Around a web application (ASGI): uploads within a rate, `POLICY` in every answer."""

    def __init__(self, app: App, uploads: Rate):
        self.app, self.uploads = app, uploads

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(name.encode(), value.encode()) for name, value in POLICY.items()]
                message = {**message, "headers": [*message.get("headers", ()), *own]}
            await send(message)

        address = (scope.get("client") or ("",))[0]
        if scope["path"].endswith("/upload") and scope["method"] == "POST" and not self.uploads.allows(address):
            await answer({"type": "http.response.start", "status": 429, "headers": [(b"content-type", b"text/plain")]})
            told = f"more than {self.uploads.per_minute} files in a minute: wait a little"
            await answer({"type": "http.response.body", "body": told.encode()})
            return
        await self.app(scope, receive, answer)


def sweep(folder: Path, seconds: float | int, most_bytes: int) -> None:
    """Delete what lies in a folder and is older than so many seconds, and the oldest beyond so many bytes."""
    left = 0
    for changed, size, path in sorted(map(_looked_at, folder.iterdir()), reverse=True):
        left += size
        if time.time() - changed > seconds or left > most_bytes:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _looked_at(path: Path) -> tuple[float, int, Path]:
    """When anything below a path was changed last, and its bytes; what vanishes meanwhile counts nothing."""
    changed, size = 0.0, 0
    for part in (path, *path.rglob("*")):
        with suppress(OSError):
            stat = part.stat()
            changed, size = max(changed, stat.st_mtime), size + stat.st_size
    return changed, size, path
