"""What is compiled, from which versions, and when again."""

import shutil
from pathlib import Path

import pytest

from e2e.cluster import golang
from e2e.cluster.golang import PROGRAMS, Program


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the modules that a test may change."""
    copy = tmp_path / "go"
    shutil.copytree(golang.MODULES, copy)
    monkeypatch.setattr(golang, "MODULES", copy)
    return copy


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("go1.26.8", (1, 26, 8)),
        ("1.26", (1, 26)),
        ("v1.36.3", (1, 36, 3)),
        ("go1.27rc1", (1, 27, 1)),
    ],
)
def test_versions_are_compared_as_numbers(text: str, version: tuple[int, ...]) -> None:
    assert golang.parse_version(text) == version


def test_the_oldest_suitable_go_is_that_of_the_most_demanding_module(modules: Path) -> None:
    before = golang.required_go()
    go_mod = modules / "runtime" / "go.mod"
    go_mod.write_text(go_mod.read_text().replace("\ngo ", "\ngo 9.8.7 // ", 1))
    assert golang.required_go() == (9, 8, 7) > before


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: str(program.path))
def test_every_program_comes_from_a_module_with_a_version(program: Program) -> None:
    go_mod = (golang.MODULES / program.module / "go.mod").read_text()
    lines = (line.removeprefix("require").split() for line in go_mod.splitlines())
    pinned = [words[0] for words in lines if len(words) > 1 and words[1].startswith("v")]
    assert any(program.package.startswith(module) for module in pinned)


@pytest.mark.parametrize("file", ["go.mod", "go.sum"])
def test_a_changed_version_builds_that_module_again_and_no_other(modules: Path, file: str) -> None:
    before = {program.path: golang.key(program) for program in PROGRAMS}
    with (modules / "runtime" / file).open("a") as stream:
        stream.write("\n")
    changed = {program.path for program in PROGRAMS if golang.key(program) != before[program.path]}
    assert changed == {program.path for program in PROGRAMS if program.module == "runtime"}


def test_kubernetes_knows_its_version(modules: Path) -> None:
    flags = {program.path: golang.linker_flags(program) for program in PROGRAMS}
    assert "gitMajor=1" in flags["kubelet"]
    assert "gitVersion" not in flags["etcd"]
