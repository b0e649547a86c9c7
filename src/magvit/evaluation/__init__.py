"""Evaluation: numbers that carry the protocol they were made by.

`protocols` says how, `samples` which real clips, `features` what is computed of each clip and kept, `scores` the
numbers, `run` all of it in order, `results` the files that come out and how two of them compare.
"""
