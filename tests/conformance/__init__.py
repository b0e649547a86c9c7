"""Parity with the official code: see `reference.py`."""
