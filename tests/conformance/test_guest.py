"""The guest itself: what goes in and comes out, what it cannot do to the host, what it leaves."""

import io
import os
import signal
import subprocess
import sys

import pytest

from e2e.cluster import cleanup, packages, paths, state
from e2e.cluster.errors import ProcessDied, TimedOut
from e2e.cluster.processes import find_marked
from e2e.cluster.state import Kind
from e2e.guest import Settings, run, tier
from e2e.guest.disks import EXT4, XFS

_MISSING = packages.missing(packages.GUEST)

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="a guest needs root"),
    pytest.mark.skipif(bool(_MISSING), reason=f"packages are missing: {', '.join(_MISSING)}"),
]

SMALL = Settings(memory=256 << 20, disks=())


def guest(argv, settings=SMALL, **more):
    out, err = io.BytesIO(), io.BytesIO()
    status = run(argv, settings, stdout=out, stderr=err, **more)
    return status, out.getvalue(), err.getvalue()


def test_a_command_comes_through_unchanged(tmp_path):
    odd = ["a b", "$HOME", "'quoted'", "line\nfeed", ""]
    script = (
        "import os, sys\n"
        "sys.stdout.buffer.write(bytes(range(256)) * 400)\n"
        "print(sys.argv[1:], os.environ['ODD'], os.getcwd(), file=sys.stderr)\n"
        "sys.exit(77)"
    )
    env = {"ODD": "x=y \n'z'"}
    status, out, err = guest([sys.executable, "-c", script, *odd], env=env, cwd=tmp_path)
    assert status == 77
    assert out == bytes(range(256)) * 400
    assert err.decode() == f"{odd} {env['ODD']} {tmp_path}\n"


def test_only_the_results_reach_the_host(tmp_path):
    results = tmp_path / "results"
    results.mkdir()
    script = f"""
        echo 1 >{tmp_path}/lost; echo 2 >{results}/kept
        mkdir -p /run/second && mount -t hostfs -o {tmp_path} none /run/second
        ! touch /run/second/never && echo protected
        kill -KILL $$"""
    status, out, _ = guest(["bash", "-c", script], Settings(256 << 20, (), results=results))
    assert (status, out) == (128 + signal.SIGKILL, b"protected\n")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["kept", "results"]


def test_disks_modules_and_privileges():
    settings = Settings(256 << 20, (XFS, EXT4), modules=("nfs",), sys_resource=False)
    script = (
        "grep -c -E '/mnt/(xfs|ext4) .*prjquota' /proc/mounts; grep -c ^nfs /proc/modules;"
        "capsh --print 2>/dev/null | grep -c sys_resource; grep CapEff /proc/self/status"
    )
    status, out, _ = guest(["bash", "-c", script], settings)
    disks, modules, _, capabilities = out.split(b"\n")[:4]
    assert status == 0
    assert (disks, int(modules) > 0) == (b"2", True)
    assert not int(capabilities.split()[1], 16) & 1 << 24  # CAP_SYS_RESOURCE


@pytest.mark.parametrize(
    ("script", "settings", "error", "said"),
    [
        ("sleep 600", Settings(256 << 20, (), timeout=8), TimedOut, "within 8 s"),
        ("echo c >/proc/sysrq-trigger; sleep 60", SMALL, ProcessDied, "Kernel panic"),
        ("true", Settings(256 << 20, (), modules=("no-such",)), ProcessDied, "module no-such"),
    ],
    ids=["late", "panic", "no module"],
)
def test_what_goes_wrong_is_told_and_leaves_nothing(script, settings, error, said):
    with pytest.raises(error, match=said):
        guest(["bash", "-c", script], settings)
    mine = [one for one in state.load_all(Kind.GUEST) if one.owner == state.myself()]
    assert mine == []
    assert subprocess.run(["pgrep", "-P", str(os.getpid())], capture_output=True).stdout == b""


def test_a_killed_driver_takes_its_guest_with_it():
    words = [sys.executable, "-m", "e2e.guest", "run", "--disks=", "--memory=0.25"]
    script = "echo up; sleep 600"
    with subprocess.Popen(
        [*words, "--", "bash", "-c", script], stdout=subprocess.PIPE, cwd=paths.REPOSITORY
    ) as driver:
        assert driver.stdout.readline() == b"up\n"
        (place,) = [
            one for one in state.load_all(Kind.GUEST) if one.owner and one.owner.pid == driver.pid
        ]
        driver.kill()
    guests = find_marked(place.folder)
    assert all(one.wait(10) for one in guests)
    cleanup.remove_abandoned()
    assert not place.folder.exists()


def test_every_module_has_its_guest():
    there = {path.name for path in (paths.REPOSITORY / tier.FOLDER).glob("test_*.py")}
    named = [module for run in tier.RUNS for module in run.modules]
    assert sorted(named) == sorted(there)


def test_a_guest_that_does_not_come_up_has_no_report(tmp_path):
    broken = tier.GuestRun("broken", ("test_xfs.py",), Settings(256 << 20, (), ("no-such",)))
    report = tier.run_tests(broken, tmp_path)
    assert report.name == "guest-broken.xml"
    assert not report.exists()
