"""The wheel in an environment of its own, beside the dependencies of this one but not the source tree."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

from test_readme import ROOT


def test_the_wheel_works_without_the_source_tree(tmp_path: Path) -> None:
    def run(*command: object) -> str:
        outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        options = {"cwd": tmp_path, "env": outside, "stdout": subprocess.PIPE, "check": True, "text": True}
        return subprocess.run([*map(str, command)], **options).stdout  # type: ignore[call-overload, no-any-return]

    run(sys.executable, ROOT / "release.py", "https://example.org/magvit", "--output", "dist")
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    run(sys.executable, "-m", "venv", "--without-pip", "clean")
    python = tmp_path / "clean" / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel)
    (site,) = (tmp_path / "clean" / "lib").glob("python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))  # its own .pth files are not read

    assert Path(run(python, "-c", "import magvit; print(magvit.__file__)")).is_relative_to(site)
    magvit = tmp_path / "clean" / "bin" / "magvit"
    assert wheel.name.split("-")[1] in run(magvit, "--version")
    run(magvit, "generate", "--task", "CG", "--label", "0", "--num-steps", "1", "--output", "made.mp4")
    assert (tmp_path / "made.mp4").stat().st_size > 0
