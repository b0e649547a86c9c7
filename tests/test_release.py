"""What a release is made of agrees: versions, links that work away from the repository, files that are there."""

import re
import runpy
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
REPOSITORY = "https://example.org/magvit"
RELEASE = runpy.run_path(str(ROOT / "release.py"))
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
PROJECT = tomllib.loads(PYPROJECT)["project"]


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_version_is_one() -> None:
    assert f"\nversion: {PROJECT['version']}\n" in text("CITATION.cff")
    assert PROJECT["version"] in re.findall(r"^## .*", text("CHANGELOG.md"), re.MULTILINE)[0]


def test_pictures_and_links_of_the_packed_readme_work_anywhere() -> None:
    readme = RELEASE["absolute"](text("README.md"), REPOSITORY)
    targets = re.findall(r"\]\(([^)]+)\)", readme)
    assert targets
    assert all(target.startswith("https://") for target in targets)
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", readme)
    assert pictures
    assert all((ROOT / picture.removeprefix(f"{REPOSITORY}/raw/HEAD/")).is_file() for picture in pictures)


def test_the_packed_metadata_names_the_repository() -> None:
    urls = tomllib.loads(RELEASE["with_urls"](PYPROJECT, REPOSITORY))["project"]["urls"]
    assert urls.keys() == {"Repository", "Documentation", "Changelog", "Paper"}
    paths = [url.removeprefix(f"{REPOSITORY}/blob/HEAD/") for name, url in urls.items() if name[0] in "DC"]
    assert all((ROOT / path).is_file() for path in paths)


def test_the_image_copies_what_is_there_and_not_ignored() -> None:
    copied = " ".join(re.findall(r"^COPY (.+) \S+$", text("Dockerfile"), re.MULTILINE)).split()
    assert {"src", "pyproject.toml", *PROJECT["license-files"], PROJECT["readme"]} <= {*copied}
    assert all((ROOT / name).exists() for name in copied)
    assert {f"!{name}" for name in copied} <= {*text(".dockerignore").splitlines()}


def test_extras_are_pinned() -> None:
    pinned = set(re.findall(r"^([\w-]+)==", text("constraints.txt"), re.MULTILINE))
    needed = sum(PROJECT["optional-dependencies"].values(), PROJECT["dependencies"])
    names = {re.match(r"[\w-]+", need)[0] for need in needed}  # type: ignore[index]
    assert names - pinned == {"magvit"}
