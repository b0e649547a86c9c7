"""Networks that are compiled; see the program that this runs."""

from pathlib import Path

from forked import run_forked


def test_compiled_networks_are_one_graph_each_with_the_same_values(tmp_path):
    run_forked(Path(__file__).with_name("compiled_networks.py").read_text(), tmp_path)
