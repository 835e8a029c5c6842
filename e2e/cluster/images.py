"""The project's own images, built by its Dockerfile upon our Debian base, without a registry.

An image is named after a hash of all that goes into it, so it is built again exactly when something
changed, and a cluster that gets the new name rolls out the new code.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from e2e.cluster import base_images, packages, paths, pip_settings
from e2e.cluster.image_store import ImageStore
from e2e.cluster.progress import say

#: The Dockerfile's targets that are installed.
TARGETS = ("operator", "csi")


@dataclass(frozen=True, slots=True)
class Image:
    """An image and the archive that holds it.

    Attributes:
        name: repository and tag, as in `localhost/vfolder-csi:0123456789ab`.
    """

    name: str
    archive: Path

    @property
    def repository(self) -> str:
        """The name without its tag."""
        return self.name.rpartition(":")[0]

    @property
    def tag(self) -> str:
        """The rest, which changes with the content."""
        return self.name.rpartition(":")[2]


def build(targets: Sequence[str] = TARGETS) -> dict[str, Image]:
    """Build what is not built yet; return the image of every target.

    Raises:
        Missing: the tools cannot be installed.
        CommandFailed: a step of the Dockerfile failed; the message holds its last lines.
    """
    base = base_images.base()
    tag = content_hash(paths.REPOSITORY, base.name)
    found = {
        target: Image(f"localhost/vfolder-{target}:{tag}", _archive(target, tag))
        for target in targets
    }
    with paths.building("images") as work:
        todo = {target: image for target, image in found.items() if not image.archive.exists()}
        if todo:
            packages.install(packages.IMAGES)
            store = ImageStore(paths.cache() / "buildah")
            store.load_base(base)
            for target, image in todo.items():
                _build(store, target, image, work)
    return found


def _archive(target: str, tag: str) -> Path:
    return paths.images_dir() / f"vfolder-{target}-{tag}.tar"


def content_hash(repository: Path, base: str) -> str:
    """Changes with the base and with every file that the Dockerfile may copy."""
    digest = hashlib.sha256(base.encode())
    for path in sorted(_inputs(repository)):
        digest.update(f"{path.relative_to(repository)}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _inputs(repository: Path) -> Iterator[Path]:
    for name in ("Dockerfile", ".dockerignore", "pyproject.toml", "README.md", "LICENSE"):
        yield repository / name
    yield from repository.glob("requirements-*.lock")
    for root in ("backends", "csi", "operator"):
        files = (path for path in (repository / root).rglob("*") if path.is_file())
        yield from (path for path in files if "__pycache__" not in path.parts)


def _build(store: ImageStore, target: str, image: Image, work: Path) -> None:
    say(f"building {image.name}")
    settings = pip_settings.merge(os.environ)
    configuration = work / "pip.conf"
    with configuration.open("w") as stream:
        settings.write(stream)
    volumes = [f"{configuration}:{pip_settings.GLOBAL_FILE}:ro"]
    volumes += [f"{path}:{path}:ro" for path in pip_settings.local_paths(settings)]
    store.buildah(
        *("build", "--quiet", "--isolation=chroot", "--layers", "--pull-never"),
        *(f"--volume={volume}" for volume in volumes),
        *(f"--build-arg=BASE={base_images.TEST_IMAGE}", f"--target={target}"),
        *(f"--tag={image.name}", str(paths.REPOSITORY)),
    )
    partial = work / f"{target}.tar"
    store.buildah("push", "--quiet", image.name, f"docker-archive:{partial}:{image.name}")
    for outdated in paths.images_dir().glob(_archive(target, "*").name):
        outdated.unlink()
    partial.replace(image.archive)
    store.keep_only(image.name)
    say(f"{image.archive.name}: {image.archive.stat().st_size >> 20} MiB")
