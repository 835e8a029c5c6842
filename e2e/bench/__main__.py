"""`make bench`: run the measurements, print them as a table, write results/bench.json."""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

from e2e.bench import arrays, folders, pods, publish, report, scale, start, trees
from e2e.bench.report import Section
from e2e.bench.site import Site
from e2e.cluster import RigError
from e2e.cluster.progress import say

#: On one site, in this order: the node plugin's memory is first read when it has done nothing, and
#: what `folders` leaves behind would keep the controllers busy under others.
ON_A_SITE: dict[str, Callable[[Site], Section]] = {
    "start": start.measure,
    "publish": publish.measure,
    "pods": pods.measure,
    "folders": folders.measure,
}
#: With what they need of their own.
ALONE: dict[str, Callable[[], Section]] = {
    "scale": scale.measure,
    "arrays": arrays.measure,
    "trees": trees.measure,
}


def main() -> int:
    """Run what is named, or all; the exit status says whether everything could be measured."""
    chosen = _chosen(sys.argv[1:])
    about: dict[str, object] = {
        **report.machine(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "loadBefore": round(os.getloadavg()[0], 1),
    }
    print(", ".join(f"{name} {value}" for name, value in about.items()), flush=True)
    sections, started, problem = [], time.monotonic(), ""
    try:
        for section in _measure(chosen):
            sections.append(section)
            print(f"\n{report.table(section)}\n", flush=True)
    except RigError as error:
        problem = str(error)
    finally:
        about |= {"seconds": round(time.monotonic() - started)}
        report.write(about, sections)
    if problem:
        print(f"not everything was measured: {problem}", file=sys.stderr)
        return 1
    print(f"{about['seconds']} s; ratio: VFolder to its peer; the same as JSON: {report.RESULTS}")
    return 0


def _measure(chosen: Sequence[str]) -> Iterator[Section]:
    if on_site := [name for name in ON_A_SITE if name in chosen]:
        site = Site()
        with site:
            for name in on_site:
                say(f"measuring: {name}")
                yield ON_A_SITE[name](site)
    for name in (name for name in ALONE if name in chosen):
        say(f"measuring: {name}")
        yield ALONE[name]()


def _chosen(words: Sequence[str]) -> list[str]:
    known = [*ON_A_SITE, *ALONE]
    parser = argparse.ArgumentParser(prog="python -m e2e.bench", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"what to measure, of: {', '.join(known)}"
    )
    names: list[str] = parser.parse_args(words).names
    if unknown := sorted(set(names) - set(known)):
        parser.error(f"no such measurement: {', '.join(unknown)}; there are {', '.join(known)}")
    return names or known


if __name__ == "__main__":
    sys.exit(main())
