"""What a release is made of agrees: versions, links that work away from the repository, files that are there."""

import itertools
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


def test_what_tests_and_site_install_is_pinned() -> None:
    extras = PROJECT["optional-dependencies"]
    needed, left = set(PROJECT["dependencies"]), ["dev", "docs"]
    while left:  # `magvit[train,log]` stands for extras of its own
        needs = extras[left.pop()]
        needed |= {need for need in needs if not need.startswith("magvit[")}
        left += [name for need in needs if need.startswith("magvit[") for name in need[7:-1].split(",")]
    pinned = set(re.findall(r"^([\w-]+)==", text("constraints.txt"), re.MULTILINE))
    assert {re.match(r"[\w-]+", need)[0] for need in needed} <= pinned  # type: ignore[index]


def test_every_dependency_has_one_lower_bound_below_its_pin() -> None:
    needs = {*PROJECT["dependencies"], *itertools.chain(*PROJECT["optional-dependencies"].values())}
    bounds = sorted(need.split(">=") for need in needs if not need.startswith("magvit["))
    assert len({name for name, _ in bounds}) == len(bounds)  # `make oldest` takes them
    pins = dict(re.findall(r"^([\w-]+)==(.+)$", text("constraints.txt"), re.MULTILINE))
    above = [name for name, bound in bounds if name in pins and numbers(bound) > numbers(pins[name])]
    assert not above


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split("."))
