"""The peer of `publish`: mounts by mount(8) and umount(8), timed. Runs on a node, as a program.

Arguments: the directory to show, the folder with the places `<number>/`, how many, and how many at
a time. Prints the fields of `publish.Latencies` as JSON.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


def main(source: str, base: str, count: int, width: int) -> None:
    def mount(target: str) -> None:
        os.mkdir(target)
        words = ("mount", "--options", "bind,nosuid,nodev", source, target)
        subprocess.run(words, check=True)

    def unmount(target: str) -> None:
        subprocess.run(("umount", target), check=True)
        os.rmdir(target)

    targets = [f"{base}/{number}/mount" for number in range(count)]
    mounting, mounting_all = timed(mount, targets, width)
    unmounting, unmounting_all = timed(unmount, targets, width)
    result = {
        "mounting": mounting,
        "unmounting": unmounting,
        "mounting_all": mounting_all,
        "unmounting_all": unmounting_all,
    }
    json.dump(result, sys.stdout)


def timed(call: Callable[[str], None], targets: list[str], width: int) -> tuple[list[float], float]:
    def one(target: str) -> float:
        started = time.perf_counter()
        call(target)
        return time.perf_counter() - started

    started = time.perf_counter()
    with ThreadPoolExecutor(width) as pool:
        seconds = list(pool.map(one, targets))
    return seconds, time.perf_counter() - started


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
