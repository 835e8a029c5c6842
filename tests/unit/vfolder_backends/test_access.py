import asyncio
import errno
import os
import threading

import pytest

from vfolder_backends.access import RootAccess
from vfolder_backends.errors import DeadlineExceeded, Misconfigured, RootLost, Unavailable


def _anything(root):
    pass


@pytest.fixture
async def access(tmp_path):
    access = RootAccess("b", str(tmp_path), 2, 5.0)
    yield access
    access.close()


async def test_nothing_runs_before_the_root_is_known(access):
    with pytest.raises(RootLost):
        await access.run(os.listdir)


async def test_a_root_of_the_wrong_kind_gets_no_mark(access, tmp_path):
    def refuse(root):
        raise Misconfigured("wrong kind")

    with pytest.raises(Misconfigured, match="wrong kind"):
        await access.attach(None, refuse)
    assert list(tmp_path.iterdir()) == []


async def test_each_call_compares_the_mark_it_works_below(access, tmp_path):
    await access.attach(None, _anything)
    assert await access.run(os.listdir) == [".vfolder"]
    mark = tmp_path / ".vfolder" / "root"
    right = mark.read_text()
    mark.write_text(right.replace('"rootID": "', '"rootID": "0')[:-4] + '"}\n')
    with pytest.raises(RootLost):
        await access.run(os.listdir)
    mark.write_text(right)
    assert await access.run(os.listdir) == [".vfolder"]


async def test_a_root_swapped_in_the_middle_of_a_call_is_not_written(access, tmp_path):
    """The descriptor that was compared is the one that is worked below."""
    await access.attach(None, _anything)
    compared, swapped = threading.Event(), threading.Event()

    def work(root):
        compared.set()
        assert swapped.wait(5)
        os.mkdir("made", dir_fd=root)

    task = asyncio.create_task(access.run(work))
    await asyncio.to_thread(compared.wait, 5)
    hidden = tmp_path.with_name("hidden")
    tmp_path.rename(hidden)
    tmp_path.mkdir()
    swapped.set()
    await task
    assert (hidden / "made").is_dir()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RootLost):
        await access.run(os.listdir)


async def test_a_dead_storage_gives_deadlines_then_refuses(tmp_path):
    access, release = RootAccess("b", str(tmp_path), 1, 0.1), threading.Event()
    await access.attach(None, _anything)
    with pytest.raises(DeadlineExceeded):
        await access.run(lambda root: release.wait())
    with pytest.raises(Unavailable):
        await access.run(os.listdir)
    release.set()
    access.close()


async def test_what_another_actor_removed_under_us_is_looked_at_again(access):
    answers = [OSError(errno.ESTALE, "stale"), OSError(errno.ESTALE, "stale"), "there"]

    def look(root):
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    await access.attach(None, _anything)
    assert await access.run(look) == "there"
    answers += [OSError(errno.ESTALE, "stale")] * 20
    with pytest.raises(Unavailable, match="Stale file handle"):
        await access.run(look)
