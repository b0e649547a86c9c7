"""The names under which video files are read and written by code outside this project; they live in `magvit.video`."""

from magvit.video import read_video, write_video

__all__ = ["read_video", "write_video"]
