"""Networks that are compiled; see the program that this runs."""

import subprocess
import sys
from pathlib import Path


def test_compiled_networks_are_one_graph_each_with_the_same_values(tmp_path):
    program = Path(__file__).with_name("compiled_networks.py")
    run = subprocess.run([sys.executable, program, tmp_path], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
