"""The page shown to a browser, in a folder that is swept, and gone at the end."""

import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from magvit.demo.ten_tasks import drawn_clip
from magvit.pipeline import MagvitPipeline
from magvit.serve.making import Tell, Workshop
from magvit.serve.uploads import Limits
from magvit.serve.visitors import Guard, Rate, sweep
from magvit.video import Source, write_video

NUM_SAMPLES = 4


def serve(pipe: MagvitPipeline, host: str, port: int, limits: Limits, tell: Tell) -> None:
    """Show the page until it is interrupted.

    Args:
        pipe: the model.
        host, port: where it listens.
        limits: what visitors may ask for.
        tell: one sentence for a visitor's error, None for a bug.

    Raises:
        OSError: the port is taken.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that the folder goes then, too
    with tempfile.TemporaryDirectory(prefix="magvit-serve-", ignore_cleanup_errors=True) as name:
        folder = Path(name, "files")
        folder.mkdir()
        # before gradio is imported: where it keeps files, and that it calls nobody
        os.environ |= {"GRADIO_TEMP_DIR": str(folder), "GRADIO_ANALYTICS_ENABLED": "False"}
        os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
        from starlette.middleware import Middleware

        from magvit.serve.looks import CSS, JS, theme
        from magvit.serve.page import build

        shop = Workshop(pipe, folder, limits)
        page = build(shop, drawn_samples(pipe, Path(name, "samples")), tell)
        page.queue(max_size=limits.waiting, default_concurrency_limit=1)
        with _kept_clean(folder, limits):
            try:
                page.launch(
                    server_name=host,
                    server_port=port,
                    max_file_size=round(limits.megabytes * 2**20),
                    app_kwargs={"middleware": [Middleware(Guard, uploads=Rate(limits.per_minute))]},
                    theme=theme(),
                    css=CSS,
                    js=JS,
                    share=False,
                    inbrowser=False,
                    ssr_mode=False,
                    run_history=False,
                    enable_monitoring=False,
                    footer_links=[],
                    quiet=True,
                    prevent_thread_lock=True,
                )
                print(f"magvit: the page is at {page.local_url}, until Ctrl-C", flush=True)
                page.block_thread()
            finally:
                page.close(verbose=False)


def drawn_samples(pipe: MagvitPipeline, folder: Path) -> dict[str, Source]:
    """Drawn clips that no training draws, by what they show."""
    samples = {}
    for seed in range(NUM_SAMPLES):
        video, described, _ = drawn_clip(pipe, seed)
        name = f"{seed + 1}: {described.rpartition(', ')[2]}"
        write_video(folder / f"drawn_{seed + 1}", video, pipe.config.fps)
        samples[name] = Source.open(folder / f"drawn_{seed + 1}", pipe.config.fps)
    return samples


@contextmanager
def _kept_clean(folder: Path, limits: Limits) -> Iterator[None]:
    """Files that are old, or too many, go."""
    over = threading.Event()

    def keep() -> None:
        while not over.wait(min(limits.kept / 4, 60)):
            sweep(folder, limits.kept, limits.disk)

    threading.Thread(target=keep, daemon=True).start()
    try:
        yield
    finally:
        over.set()
