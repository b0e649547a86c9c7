"""Wheel and source archive of what is committed, into dist/: `python release.py https://github.com/OWNER/magvit`.

PyPI shows the README away from its repository: in the copy that is packed its links and pictures are absolute, and the
metadata names the repository. Needs git and setuptools (`constraints.txt` has its version), no network.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent
BUILD = "import sys; from setuptools import build_meta as b; to = sys.argv[1]; b.build_sdist(to); b.build_wheel(to)"


def absolute(readme: str, repository: str) -> str:
    """The README with pictures and links that lead to the repository from anywhere."""
    inside = r"\((?!https?://|#)([^)]+)\)"
    readme = re.sub(rf"(!\[[^]]*\]){inside}", rf"\1({repository}/raw/HEAD/\2)", readme)
    return re.sub(rf"\]{inside}", rf"]({repository}/blob/HEAD/\1)", readme)


def with_urls(pyproject: str, repository: str) -> str:
    """The metadata with the addresses that follow from the repository's."""
    urls = {"Repository": "", "Documentation": "/blob/HEAD/docs/index.md", "Changelog": "/blob/HEAD/CHANGELOG.md"}
    lines = "".join(f'{name} = "{repository}{path}"\n' for name, path in urls.items())
    return pyproject.replace("[project.urls]\n", "[project.urls]\n" + lines)


def main() -> None:
    """Build both from the last commit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository", help="address of the repository, as a browser opens it")
    parser.add_argument("--output", type=Path, default=ROOT / "dist")
    options = parser.parse_args()
    repository, output = options.repository.rstrip("/"), options.output.resolve()
    if not re.fullmatch(r"https://\S+", repository):
        parser.error(f"the repository is {repository!r}, expected https://...")
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        committed = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
        subprocess.run(["tar", "-x", "-C", folder], input=committed, check=True)
        for file, change in (("README.md", absolute), ("pyproject.toml", with_urls)):
            path = folder / file
            path.write_text(change(path.read_text(encoding="utf-8"), repository), encoding="utf-8")
        subprocess.run([sys.executable, "-c", BUILD, output], cwd=folder, stdout=subprocess.DEVNULL, check=True)
    for path in sorted(output.iterdir()):
        print(f"{path.stat().st_size / 1e6:.1f} MB  {path}")


if __name__ == "__main__":
    main()
