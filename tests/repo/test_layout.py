"""The house stands as it is meant to."""

import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]
SOURCE_ROOTS = ("operator", "csi", "backends")


def test_source_roots_are_never_packages() -> None:
    """An operator/__init__.py would shadow the standard library for all that is started here."""
    for root in SOURCE_ROOTS:
        assert not (ROOT / root / "__init__.py").exists()
    done = subprocess.run(
        [sys.executable, "-c", "import operator; operator.eq"], cwd=ROOT, check=False
    )
    assert done.returncode == 0


def test_no_module_is_named_after_the_standard_library() -> None:
    names = [
        path.relative_to(ROOT)
        for root in SOURCE_ROOTS
        for path in (ROOT / root).rglob("*.py")
        if path.stem in sys.stdlib_module_names
    ]
    assert names == []


def test_test_folders_hold_no_packages() -> None:
    """`tests/operator/__init__.py` would turn `import operator` into ours."""
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_no_module_has_grown_too_large() -> None:
    large = {
        str(path.relative_to(ROOT)): lines
        for root in (*SOURCE_ROOTS, "e2e")
        for path in (ROOT / root).rglob("*.py")
        if "_proto" not in path.parts and (lines := path.read_text().count("\n")) > 400
    }
    assert large == {}
