"""buildah's store of images and build steps, kept in the cache apart from the machine's own."""

from pathlib import Path

from e2e.cluster import commands, mounts

_TIMEOUT = 1200.0


class ImageStore:
    """A folder that remembers the steps of earlier builds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def buildah(self, *words: str) -> str:
        """Run buildah on this store."""
        options = (f"--root={self.folder / 'root'}", f"--runroot={self.folder / 'run'}")
        return commands.run("buildah", *options, *words, timeout=_TIMEOUT)

    def load_base(self, base: Path) -> None:
        """Begin anew upon a base, unless the store has it already; its steps are worth nothing."""
        # A build that was killed leaves its containers mounted.
        mounts.detach_below(self.folder)
        mark = self.folder / base.name
        if not mark.exists():
            commands.run("rm", "-rf", "--one-file-system", "--", self.folder, timeout=120)
            self.folder.mkdir(parents=True)
            self.buildah("pull", "--quiet", f"docker-archive:{base}")
            mark.touch()

    def keep_only(self, name: str) -> None:
        """Remove other tags of this image; the steps that they share with this one stay."""
        repository = name.rpartition(":")[0]
        listed = self.buildah("images", "--noheading", "--format={{.Name}}:{{.Tag}}").split()
        ours = (one for one in listed if one.startswith(f"{repository}:"))
        if outdated := [one for one in ours if one != name]:
            self.buildah("rmi", *outdated)
