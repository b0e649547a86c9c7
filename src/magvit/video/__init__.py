"""Video and picture files: reading, seeking, writing, contact sheets. Nothing here knows of data sets or models."""

from magvit.video.reading import (
    MAX_FRAME_PIXELS,
    MAX_VIDEO_BYTES,
    TooFewFrames,
    VideoInfo,
    count_frames,
    probe,
    read_frames,
    read_video,
)
from magvit.video.sink import Sink, read_metadata
from magvit.video.source import Source
from magvit.video.times import Times, frame_rate, frame_times
from magvit.video.writing import write_video

__all__ = [
    "MAX_FRAME_PIXELS",
    "MAX_VIDEO_BYTES",
    "Sink",
    "Source",
    "Times",
    "TooFewFrames",
    "VideoInfo",
    "count_frames",
    "frame_rate",
    "frame_times",
    "probe",
    "read_frames",
    "read_metadata",
    "read_video",
    "write_video",
]
