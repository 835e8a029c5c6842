"""Folders, snapshots and clones of a simulated VAST cluster, with the tasks that fill clones.

Our own client removes nothing by these calls, since they remove whole trees; a site's tools do.
"""

import shutil
from typing import TYPE_CHECKING, Any

from vfolder_backends.testing.arrays.calls import Call, Reply
from vfolder_backends.testing.arrays.jobs import JobFailed, Stage
from vfolder_backends.testing.arrays.simulated import Handler
from vfolder_backends.testing.arrays.vast.state import Snapshot, State, Stream

if TYPE_CHECKING:
    from vfolder_backends.testing.arrays.vast.simulator import SimulatedVast

_STATES = {
    Stage.QUEUED: "RUNNING",
    Stage.RUNNING: "RUNNING",
    Stage.DONE: "COMPLETED",
    Stage.FAILED: "FAILED",
}


def routes(array: "SimulatedVast") -> dict[str, Handler[State]]:
    """The calls on folders, snapshots, streams and tasks."""
    made = Folders(array)
    return {
        "POST /folders/stat_path/": made.stat,
        "POST /folders/create_folder/": made.create,
        "DELETE /folders/delete_folder/": made.delete,
        "POST /snapshots/": made.snapshot,
        "GET /snapshots/{id}/": made.show_snapshot,
        "DELETE /snapshots/{id}/": made.remove_snapshot,
        "POST /snapshots/{id}/clone/": made.clone,
        "GET /globalsnapstreams/{id}/": made.stream,
        "PATCH /globalsnapstreams/{id}/stop": made.stop,
        "DELETE /globalsnapstreams/{id}/": made.remove_stream,
        "GET /vtasks/{id}/": made.task,
    }


class Folders:
    """The handlers."""

    def __init__(self, array: "SimulatedVast") -> None:
        self._array = array

    def stat(self, state: State, call: Call) -> Reply:
        """Tell what lies at a path."""
        path = str(call.fields()["path"])
        place = self._array.disk.place(path)
        if not place.exists():
            return self._array.refused("path", f"no such directory: {path}")
        seen = place.stat()
        return Reply(
            body={
                "is_directory": place.is_dir(),
                "children": len(list(place.iterdir())) if place.is_dir() else 0,
                "owning_uid": seen.st_uid,
                "owning_gid": seen.st_gid,
            }
        )

    def create(self, state: State, call: Call) -> Reply:
        """Make a directory."""
        path = str(call.fields()["path"])
        place = self._array.disk.place(path)
        if place.exists():
            return self._array.refused("path", f"{path} already exists")
        place.mkdir(parents=True)
        return Reply(200)

    def delete(self, state: State, call: Call) -> Reply:
        """Move a whole tree to the trash; that has to be enabled, and no snapshot may hold it."""
        path = str(call.fields()["path"])
        if not self._array.settings.trash:
            return Reply(503, {"detail": "trash folder disabled"})
        place = self._array.disk.place(path)
        if not place.is_dir():
            return Reply(503, {"detail": f"no such directory: {path}"})
        if any(f"{s.path}/".startswith(f"{path}/") for s in state.snapshots.values()):
            return Reply(503, {"detail": f"{path} has snapshots"})
        self._array.jobs.submit("trash", lambda: shutil.rmtree(place, ignore_errors=True))
        return Reply(200)

    def snapshot(self, state: State, call: Call) -> Reply:
        """Keep a directory's path; a trailing slash belongs to it."""
        fields = call.fields()
        made = Snapshot(state.number(), str(fields["name"]), str(fields["path"]).rstrip("/"))
        state.snapshots[made.id] = made
        return Reply(201, _snapshot(made))

    def show_snapshot(self, state: State, call: Call) -> Reply:
        """One snapshot."""
        found = state.snapshots.get(int(call.params["id"]))
        return Reply(body=_snapshot(found)) if found else self._array.refusal(404, "Not found.")

    def remove_snapshot(self, state: State, call: Call) -> Reply:
        """Remove it."""
        found = state.snapshots.pop(int(call.params["id"]), None)
        return Reply(204) if found else self._array.refusal(404, "Not found.")

    def clone(self, state: State, call: Call) -> Reply:
        """Begin to fill a directory that is not there yet."""
        snapshot = state.snapshots.get(int(call.params["id"]))
        if snapshot is None:
            return self._array.refusal(404, "Not found.")
        fields = call.fields()
        target = str(fields["loanee_root_path"])
        source, place = self._array.disk.place(snapshot.path), self._array.disk.place(target)
        if place.exists():
            return self._array.refused("loanee_root_path", f"{target} already exists")

        def fill() -> None:
            try:
                shutil.copytree(source, place, symlinks=True)
            except OSError as error:
                raise JobFailed(str(error)) from error

        number = state.number()
        task = self._array.jobs.submit("clone", fill)
        made = Stream(number, str(fields.get("name", "")), snapshot.id, target, task)
        state.streams[number] = made
        shown = {**self._shown(made), "async_task": {"id": task}}
        return Reply(body=shown)

    def stream(self, state: State, call: Call) -> Reply:
        """One clone on its way."""
        found = state.streams.get(int(call.params["id"]))
        return Reply(body=self._shown(found)) if found else self._array.refusal(404, "Not found.")

    def _shown(self, stream: Stream) -> dict[str, Any]:
        job = self._array.jobs.find(stream.task)
        done = self._array.disk.place(stream.target).exists()
        state = "FINISHED" if done and (job is None or job.stage is Stage.DONE) else "ACTIVE"
        if stream.stopped:
            state = "STOPPED"
        return {
            "id": stream.id,
            "name": stream.name,
            "loanee_root_path": stream.target,
            "state": state,
            "status": {"state": state},
            "enabled": not stream.stopped,
        }

    def stop(self, state: State, call: Call) -> Reply:
        """Stop it."""
        found = state.streams.get(int(call.params["id"]))
        if found is None:
            return self._array.refusal(404, "Not found.")
        found.stopped = True
        return Reply(body={"async_task": {"id": found.task}})

    def remove_stream(self, state: State, call: Call) -> Reply:
        """Forget one that is finished or stopped; the body says whether the directory goes, too."""
        found = state.streams.get(int(call.params["id"]))
        if found is None:
            return self._array.refusal(404, "Not found.")
        if self._shown(found)["state"] == "ACTIVE":
            return Reply(400, {"detail": "the stream is active"})
        del state.streams[found.id]
        if call.fields().get("remove_dir"):
            shutil.rmtree(self._array.disk.place(found.target), ignore_errors=True)
        return Reply(body={"async_task": {"id": found.task}})

    def task(self, state: State, call: Call) -> Reply:
        """One task, as long as it is known."""
        job = self._array.jobs.find(int(call.params["id"]))
        if job is None:
            return self._array.refusal(404, "Not found.")
        body: dict[str, Any] = {"id": job.number, "name": job.what, "state": _STATES[job.stage]}
        if job.error:
            body["messages"] = {"error": job.error}
        return Reply(body=body)


def _snapshot(snapshot: Snapshot) -> dict[str, Any]:
    return {"id": snapshot.id, "name": snapshot.name, "path": f"{snapshot.path}/"}
