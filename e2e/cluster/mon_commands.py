"""A script for the system's python3, which alone has the `rados` module: talk to a Ceph monitor.

It takes all commands over one connection, because every start of the `ceph` program costs half a
second. Arguments: the configuration file. Input: one JSON command per line. Output: one line of
JSON per command. A command with a member `until` is repeated until that text is in its answer.
"""

import json
import sys
import time

import rados  # type: ignore[import-not-found]

_TIMEOUT = 60


def main(conf: str) -> None:
    """Send every command of standard input; the first refusal ends the program."""
    with rados.Rados(conffile=conf, conf={"client_mount_timeout": str(_TIMEOUT)}) as cluster:
        for line in sys.stdin:
            command = json.loads(line)
            wanted = command.pop("until", "")
            deadline = time.monotonic() + _TIMEOUT
            while True:
                body = json.dumps({**command, "format": "json"})
                status, answer, error = cluster.mon_command(body, b"", timeout=_TIMEOUT)
                if status:
                    sys.exit(f"{command['prefix']}: error {status}: {error}")
                if wanted in answer.decode():
                    break
                if time.monotonic() > deadline:
                    sys.exit(f"{command['prefix']}: no {wanted!r} within {_TIMEOUT} s")
                time.sleep(0.05)
            print(json.dumps(json.loads(answer) if answer.strip() else None))


if __name__ == "__main__":
    main(sys.argv[1])
