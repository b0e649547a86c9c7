"""Evaluation: numbers that carry the protocol they were made by.

`protocols` and `published` say how, `samples` which real clips; `metrics` holds each metric as one object, with the
`networks` it looks through; `features` is what is computed of each clip and kept, `scores` makes numbers of that,
`evaluate` does all of it in order, and `results` are the files that come out and how two of them compare.
"""
