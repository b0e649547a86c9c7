"""Four futures of one clip, side by side: `python examples/predict_frames.py clip.mp4 futures.mp4`."""

import sys

from magvit import MagvitPipeline
from magvit.video import write_video


def main(clip: str, output: str) -> None:
    """Predict the rest of `clip` from its first frame, four times."""
    pipe = MagvitPipeline.from_pretrained("magvit-tiny")
    futures = pipe("frame_prediction", video=clip, num_samples=4, seed=0)
    write_video(output, futures.video, fps=pipe.config.fps)


if __name__ == "__main__":
    main(*sys.argv[1:])
