"""Archives and image names."""

import configparser
import hashlib
import json
import tarfile
from pathlib import Path

import pytest

from e2e.cluster import base_images, images, pip_settings


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """The files that go into an image, in small."""
    folder = tmp_path / "repository"
    for name in ("operator/a", "csi/b", "backends/c"):
        (folder / name).mkdir(parents=True)
        (folder / name / "code.py").write_text(name)
    for name in (
        "Dockerfile",
        ".dockerignore",
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "requirements-csi.lock",
    ):
        (folder / name).write_text(name)
    return folder


def test_the_name_changes_with_everything_that_goes_in(repository: Path) -> None:
    seen = {images.content_hash(repository, "base-1")}
    seen.add(images.content_hash(repository, "base-2"))
    for name in ("Dockerfile", "requirements-csi.lock", "csi/b/code.py", "operator/a/new.py"):
        with (repository / name).open("a") as stream:
            stream.write("more")
        seen.add(images.content_hash(repository, "base-1"))
    (repository / "csi/b/code.py").rename(repository / "csi/b/renamed.py")
    seen.add(images.content_hash(repository, "base-1"))
    assert len(seen) == 7


def test_the_name_ignores_what_does_not_go_in(repository: Path) -> None:
    before = images.content_hash(repository, "base")
    (repository / "csi/b/__pycache__").mkdir()
    (repository / "csi/b/__pycache__/code.pyc").write_text("x")
    (repository / "docs").mkdir()
    (repository / "docs/a.md").write_text("x")
    assert images.content_hash(repository, "base") == before


def test_the_archive_names_its_parts_by_their_digests(tmp_path: Path) -> None:
    (tmp_path / "hello").write_text("hello")
    layer, archive = tmp_path / "layer.tar", tmp_path / "image.tar"
    with tarfile.open(layer, "w") as tar:
        tar.add(tmp_path / "hello", "hello")
    base_images.pack(layer, archive, "localhost/hello:1", ["/hello"])

    with tarfile.open(archive) as tar:
        parts = {member.name: tar.extractfile(member) for member in tar.getmembers()}
        content = {name: stream.read() for name, stream in parts.items() if stream}
    (manifest,) = json.loads(content["manifest.json"])
    config = json.loads(content[manifest["Config"]])
    assert manifest["RepoTags"] == ["localhost/hello:1"]
    assert manifest["Config"] == f"{hashlib.sha256(content[manifest['Config']]).hexdigest()}.json"
    digests = [hashlib.sha256(content[name]).hexdigest() for name in manifest["Layers"]]
    assert config["rootfs"]["diff_ids"] == [f"sha256:{digest}" for digest in digests]
    assert len(config["history"]) == len(digests)
    assert config["config"]["Cmd"] == ["/hello"]


def _settings(tmp_path: Path, file: str = "", **environ: str) -> configparser.RawConfigParser:
    (tmp_path / ".pip").mkdir()
    (tmp_path / ".pip" / "pip.conf").write_text(file)
    return pip_settings.merge({"HOME": str(tmp_path), **environ})


def test_pips_variables_win_over_its_files(tmp_path: Path) -> None:
    file = "[global]\nindex-url = https://a.invalid/%20\n[install]\nretries = 1\ntimeout = 2\n"
    settings = _settings(tmp_path, file, PIP_RETRIES="7", PIP_EXTRA_INDEX_URL="https://b.invalid")
    assert settings.get("global", "index-url") == "https://a.invalid/%20"
    assert settings.get("global", "extra-index-url") == "https://b.invalid"
    assert settings.get("global", "retries") == "7"
    assert not settings.has_option("install", "retries")
    assert settings.get("install", "timeout") == "2"


def test_other_variables_are_not_pips(tmp_path: Path) -> None:
    settings = _settings(tmp_path, PIPX_HOME="/x", HTTP_PASSWORD="secret")
    assert "secret" not in str([dict(settings[section]) for section in settings.sections()])
    assert "/x" not in str([dict(settings[section]) for section in settings.sections()])


def test_local_files_that_settings_name_are_found(tmp_path: Path) -> None:
    wheels, bundle = tmp_path / "wheels", tmp_path / "ca.pem"
    wheels.mkdir()
    bundle.touch()
    settings = _settings(
        tmp_path,
        PIP_FIND_LINKS=f"{wheels} https://c.invalid/{wheels} {tmp_path}/missing",
        PIP_CERT=str(bundle),
    )
    assert pip_settings.local_paths(settings) == [bundle, wheels]
