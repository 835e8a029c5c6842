"""Writes docs/behaviour.md: what each storage told and did in the last run of the conformance tier.

python -m e2e.behaviour [REPORT ...]      reports of pytest --junitxml; all in results/
"""

import sys
import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from e2e.cluster.paths import REPOSITORY
from vfolder_backends.testing.conformance.behaviour_rules import PREFIX

TARGET = REPOSITORY / "docs" / "behaviour.md"
RESULTS = REPOSITORY / "results"

HEAD = """# Behaviour of the storages

Generated from a run of the conformance suite by `python -m e2e.behaviour`; not written by hand.
"writer met" is what somebody met who wrote twice the limit at once; arrays are simulated, so there
it shows what the simulator does, set as the vendor documents it.
"""


def kinds() -> dict[str, list[str]]:
    """Return each kind of backend that we ship, with its other names: one column of the page."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    names: dict[str, list[str]] = {}
    for name, factory in project["entry-points"]["vfolder.backends"].items():
        names.setdefault(factory, []).append(name)
    return {first: sorted(others) for first, *others in names.values()}


def facts(reports: Iterable[Path]) -> dict[str, dict[str, str]]:
    """Return the facts of each backend.

    Of a kind that was tested in several modules, those of the last one by name: its own, not the
    one in a guest that has it below a network file system.
    """
    cases = [case for report in reports for case in ET.parse(report).getroot().iter("testcase")]
    found: dict[str, dict[str, str]] = {}
    for case in sorted(cases, key=lambda case: case.get("classname", "")):
        told = {
            item.get("name", "").removeprefix(PREFIX): item.get("value", "")
            for item in case.iter("property")
            if item.get("name", "").startswith(PREFIX)
        }
        if told:
            found[told.pop("backend")] = told
    return found


def head(names: Mapping[str, Sequence[str]]) -> str:
    """Return the first line of the table."""
    return f"| | {' | '.join(', '.join((kind, *others)) for kind, others in names.items())} |"


def table(found: Mapping[str, Mapping[str, str]], names: Mapping[str, Sequence[str]]) -> str:
    """Return the page: one row a behaviour, one column each of `names`."""
    rows = dict.fromkeys(row for kind in names for row in found[kind])
    lines = [head(names), "|---" * (len(names) + 1) + "|"]
    lines += [
        f"| {row} | {' | '.join(found[kind].get(row, '') for kind in names)} |" for row in rows
    ]
    return HEAD + "\n" + "\n".join(lines) + "\n"


def main() -> None:
    """Write the page."""
    reports = [Path(word) for word in sys.argv[1:]] or sorted(RESULTS.glob("*.xml"))
    found, names = facts(reports), kinds()
    if missing := names.keys() - found.keys():
        sys.exit(
            f"no report holds the behaviour of {', '.join(sorted(missing))}:"
            " run `python -m e2e.tiers conformance` first, or name reports of former runs"
        )
    TARGET.write_text(table(found, names))
    print(f"{TARGET}: {', '.join(names)}")


if __name__ == "__main__":
    main()
