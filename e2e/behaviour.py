"""Writes docs/behaviour.md: what each storage told and did in the last run of the conformance tier.

python -m e2e.behaviour [REPORT ...]      reports of pytest --junitxml; all in results/
"""

import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterable
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


def facts(reports: Iterable[Path]) -> dict[str, dict[str, str]]:
    """Return the facts of each backend; of one that ran twice, those of the last run."""
    found: dict[str, dict[str, str]] = {}
    for report in reports:
        for case in ET.parse(report).getroot().iter("testcase"):
            told = {
                item.get("name", "").removeprefix(PREFIX): item.get("value", "")
                for item in case.iter("property")
                if item.get("name", "").startswith(PREFIX)
            }
            if told and told["backend"] != "memory":
                found[told.pop("backend")] = told
    return found


def table(found: dict[str, dict[str, str]]) -> str:
    """Return the page: one row a behaviour, one column a backend."""
    kinds = sorted(found)
    rows = [name for kind in kinds[:1] for name in found[kind]]
    lines = [f"| | {' | '.join(kinds)} |", "|---" * (len(kinds) + 1) + "|"]
    lines += [
        f"| {name} | {' | '.join(found[kind].get(name, '') for kind in kinds)} |" for name in rows
    ]
    return HEAD + "\n" + "\n".join(lines) + "\n"


def main() -> None:
    """Write the page."""
    reports = [Path(word) for word in sys.argv[1:]] or sorted(RESULTS.glob("*.xml"))
    found = facts(reports)
    if not found:
        sys.exit("no report holds any behaviour: run `python -m e2e.tiers conformance` first")
    TARGET.write_text(table(found))
    print(f"{TARGET}: {', '.join(sorted(found))}")


if __name__ == "__main__":
    main()
