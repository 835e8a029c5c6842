"""The manifests in the documents are applied as they are written."""

import pathlib
import re

import pytest

from e2e.cluster import base_images
from e2e.world import World

pytestmark = pytest.mark.timeout(300)

ROOT = pathlib.Path(__file__).parents[2]


def manifests(document: str) -> list[str]:
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)
    return [block for block in blocks if "apiVersion:" in block]


def test_the_quick_start_word_by_word(site: World) -> None:
    site.cluster.kubectl("create", "namespace", "team-a")
    site.cluster.kubectl("label", "namespace", "team-a", "storage=scratch")
    objects, pod = manifests("README.md")
    site.cluster.kubectl("apply", "-f", "-", stdin=objects)
    site.until_ready("team-a", "vfolder", "datasets")
    # No registry is reached here: only the image is another one.
    local = pod.replace("image: python:3.13-slim", f"image: {base_images.TEST_IMAGE}")
    assert local != pod
    site.cluster.kubectl("apply", "-f", "-", stdin=local)
    site.until(lambda: site.phase("team-a", "trainer") == "Succeeded", "the pod ends")
    assert site.cluster.kubectl("logs", "-n", "team-a", "trainer").strip() == "hello"
    site.cluster.kubectl("delete", "namespace", "team-a", "--timeout=90s", timeout=100)


@pytest.mark.parametrize("document", ["docs/cephfs.md", "docs/vfs.md"])
def test_storage_examples_are_valid(site: World, document: str) -> None:
    for manifest in manifests(document):
        site.cluster.kubectl("apply", "--dry-run=server", "-f", "-", stdin=manifest)
