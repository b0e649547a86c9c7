"""The demo: all ten tasks of the paper on one clip, with a video of each, one picture of all, and a report."""

from magvit.demo.ten_tasks import run_demo

__all__ = ["run_demo"]
