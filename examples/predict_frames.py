"""Several futures of one clip, side by side: `python examples/predict_frames.py clip.mp4 futures.mp4`."""

from pathlib import Path

import tyro

from magvit import MagvitPipeline, write_video


def main(clip: Path, output: Path, /, model: str = "magvit-tiny", num_samples: int = 4, seed: int = 0) -> None:
    """Predict the rest of a clip from its first frame, several times.

    Args:
        clip: a video, or a picture.
        output: .mp4, .gif, .webp or .png.
        model: folder, packaged name or hub id.
        num_samples: how many futures.
        seed: another one gives others.
    """
    pipe = MagvitPipeline.from_pretrained(model)
    futures = pipe("frame_prediction", video=clip, num_samples=num_samples, seed=seed)
    write_video(output, futures.video, fps=pipe.config.fps)


if __name__ == "__main__":
    tyro.cli(main)
