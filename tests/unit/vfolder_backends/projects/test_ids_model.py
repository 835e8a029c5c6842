"""Never one project id for two scopes, in whatever order actors act, die, and begin again."""

import os
import shutil
import tempfile
from pathlib import Path
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.vfolder_backends.projects.kernel_model import Actor, Kernel, Killed
from vfolder_backends.config import BackendConfig
from vfolder_backends.errors import BackendError, Unavailable
from vfolder_backends.ids import ScopeHex
from vfolder_backends.ledger import DiskLedger
from vfolder_backends.port import Limits
from vfolder_backends.projects import facts
from vfolder_backends.projects.driver import ProjectDriver
from vfolder_backends.projects.syscalls import Project
from vfolder_backends.tree.root import initialise

FIRST = 100


class Access:
    """A root without a pool: calls run where they are made."""

    timeout = 30.0

    def __init__(self, path):
        self.path = str(path)

    async def run(self, call, *args):
        root = os.open(self.path, os.O_RDONLY)
        try:
            return call(root, *args)
        finally:
            os.close(root)


class Ledger:
    """A cluster's own, which a restored backup may set back."""

    def __init__(self):
        self.value = 0

    async def next(self, space, at_least):
        self.value = max(self.value + 1, at_least)
        return self.value


class World:
    def __init__(self, folder, late, ledgers):
        self.kernel = Kernel(late)
        self.roots = [folder / "one", folder / "two"]
        self.ledgers = ledgers
        for root in self.roots:
            root.mkdir()
            fd = os.open(root, os.O_RDONLY)
            initialise(fd)
            os.close(fd)
        self.foreign = {}

    def driver(self, root):
        config = BackendConfig("disk", "xfs", str(root), ids=self.ledgers[self.roots.index(root)])
        return ProjectDriver(Access(root), facts.XFS, config, FIRST, 10_000)

    def make(self, root, scope, ref=None):
        async def job():
            driver = self.driver(root)
            found = await driver.prepare(scope, ref or {})
            await driver.create(scope, found)
            assert await driver.settle(scope) is None
            await driver.write(scope, Limits(1 << 20, 10))

        return job

    def drop(self, root, scope):
        async def job():
            driver = self.driver(root)
            await driver.release(scope)

        return job

    def occupy(self, folder, project):
        """Somebody's directory, there from the beginning."""
        folder.mkdir()
        fd = os.open(folder, os.O_RDONLY)
        self.kernel.set_project(fd, Project(project, True))
        os.close(fd)
        self.foreign[folder] = project

    def ids(self):
        """The id of each directory that is in its place, and of those that are not ours."""
        found = {}
        for root in self.roots:
            for place in root.iterdir():
                if len(place.name) == 32:
                    fd = os.open(place, os.O_RDONLY)
                    found[place] = self.kernel.get_project(fd).id
                    os.close(fd)
        return found

    def check(self):
        ids = list(self.ids().values())
        taken = [*ids, *self.foreign.values()]
        assert 0 not in ids
        assert len(set(taken)) == len(taken), f"one id for two: {sorted(taken)}"


jobs = st.lists(
    st.tuples(st.sampled_from("mmmd"), st.integers(0, 1), st.integers(0, 2)), min_size=2, max_size=5
)


@settings(max_examples=60)
@given(
    jobs=jobs,
    order=st.integers(0, 2**32),
    deaths=st.sampled_from([0.0, 0.01, 0.05]),
    late=st.sampled_from([0, 0, 3, 40]),
    ledger=st.sampled_from(["disk", "shared", "set back"]),
    foreign=st.sets(st.integers(FIRST, FIRST + 4), max_size=3),
)
def test_no_id_has_two_scopes(jobs, order, deaths, late, ledger, foreign):
    folder = Path(tempfile.mkdtemp())
    ledgers = [DiskLedger(), DiskLedger()] if ledger == "disk" else [Ledger()] * 2
    world = World(folder, late, ledgers)
    with world.kernel.in_charge():
        for project in foreign:
            world.occupy(folder / f"foreign-{project}", project)
        actors = []
        for verb, which, number in jobs:
            place = world.roots[which], ScopeHex(f"{number:032x}")
            actors.append(Actor(world.make(*place) if verb == "m" else world.drop(*place)))
        chance = Random(order)
        while alive := [actor for actor in actors if not actor.done]:
            actor = chance.choice(alive)
            # In short bursts, so that each meets the others in the midst of all they do.
            for _ in range(chance.choice([1, 1, 2, 3, 8])):
                if not actor.done:
                    actor.advance(kill=chance.random() < deaths)
            if ledger == "set back" and chance.random() < 0.02:
                ledgers[0].value = 0
            world.check()
        for actor in actors:
            error = actor.finish()
            assert error is None or isinstance(error, (Killed, BackendError, OSError)), error
            world.check()
        # What is asked for again, alone, ends well: the scope is there, and its limits with it.
        for _, which, number in jobs:
            root, scope = world.roots[which], ScopeHex(f"{number:032x}")
            for _ in range(5):
                error = Actor(world.make(root, scope)).finish()
                if not isinstance(error, Unavailable):
                    break
            assert error is None, error
            world.check()
            assert world.kernel.limits(world.ids()[root / scope.value]) == (1 << 20, 10)
        # And once all is dropped, nothing of it limits anybody.
        for root in world.roots:
            for number in range(3):
                for _ in range(2):
                    error = Actor(world.drop(root, ScopeHex(f"{number:032x}"))).finish()
                    assert error is None, error
        assert world.ids() == {}
    shutil.rmtree(folder)
