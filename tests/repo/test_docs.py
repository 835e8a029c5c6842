"""What the documents say is so."""

import ast
import pathlib
import re

from vfolder_backends import errors

ROOT = pathlib.Path(__file__).parents[2]


def reasons() -> set[str]:
    """Every reason that a condition of ours can have, read from the code."""
    found = {
        error.reason
        for error in vars(errors).values()
        if isinstance(error, type) and issubclass(error, errors.BackendError)
    }
    for path in (ROOT / "operator/vfolder_operator/reconcile").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                place = {"Hold": 0, "Violation": 0, "Condition": 2}.get(node.func.id)
                if place is not None and len(node.args) > place:
                    argument = node.args[place]
                    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                        found.add(argument.value)
    return found


def test_every_reason_is_explained() -> None:
    text = (ROOT / "docs/conditions.md").read_text()
    explained = set(re.findall(r"`([A-Z][A-Za-z]+)`", text))
    assert reasons() - explained == set()


def test_links_between_documents_lead_somewhere() -> None:
    documents = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
    for document in documents:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_paths_in_contributing_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    for path in re.findall(r"\| `((?:backends|csi|operator|charts|e2e)/[^`]*)`", text):
        assert (ROOT / path).exists(), path
