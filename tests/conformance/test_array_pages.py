"""The example on each array's page is valid, and works against the simulator as it is written."""

import pathlib

import jsonschema
import pytest
import yaml

from e2e.arrays import SHOWN, page
from vfolder_backends.config import BackendConfig
from vfolder_backends.registry import Registry
from vfolder_backends.testing.arrays import catalogue
from vfolder_backends.testing.arrays.server import Server
from vfolder_backends.testing.conformance.base import SCOPE, TEAM, scope_request
from vfolder_operator.crds.backend import StorageBackendSpec

ROOT = pathlib.Path(__file__).parents[2]
OTHER = {"flashblade": {"view": "Directories"}}
"""Where no array and no automounter is."""


@pytest.mark.parametrize("kind", catalogue.kinds())
def test_the_example_has_the_fields_that_the_kind_has(kind):
    secret, backend = page(kind)
    assert backend["spec"]["credentialsSecretRef"]["name"] == secret["metadata"]["name"]
    (definition,) = yaml.safe_load_all((ROOT / "crds/storagebackends.yaml").read_text())
    (version,) = definition["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    jsonschema.Draft4Validator(schema).validate(backend)
    assert set(backend["spec"]) <= set(schema["properties"]["spec"]["properties"])


@pytest.mark.parametrize("kind", catalogue.kinds())
async def test_the_example_works_as_it_is_written(kind, tmp_path):
    secret, manifest = page(kind)
    spec = StorageBackendSpec.model_validate(manifest["spec"])
    disk = tmp_path / "disk"
    root = disk / SHOWN[kind]
    root.mkdir(parents=True, exist_ok=True)
    array = catalogue.make(kind, disk)
    with Server(array) as server:
        # Only where it is, and whom to trust, differ from site to site.
        config = BackendConfig(
            manifest["metadata"]["name"],
            spec.type,
            str(root),
            parameters={**spec.parameters, **OTHER.get(kind, {})},
            endpoint=server.endpoint + array.shown_base,
            credentials=secret["stringData"],
            ca_bundle=server.certificate.authority,
        )
        backend = Registry().build(config)
        await backend.attach(None)
        health = await backend.probe()
        assert health.warnings == ()
        await backend.ensure_scope(scope_request())
        await backend.delete_scope(SCOPE, TEAM)
        await backend.close()
    assert array.violations == []
