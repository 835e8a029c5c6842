"""The StorageBackends on the pages of arrays are what the operator takes, as written."""

import re
from pathlib import Path

import pytest
import yaml

from vfolder_backends.config import BackendConfig
from vfolder_backends.registry import Registry
from vfolder_operator.crds.backend import StorageBackendSpec

DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize("page", ["exascaler", "flashblade", "gpfs", "hammerspace", "onefs"])
async def test_the_example_is_taken_as_written(page):
    (text,) = re.findall(r"```yaml\n(.*?)```", (DOCS / f"{page}.md").read_text(), re.DOTALL)
    *secrets, backend = yaml.safe_load_all(text)
    spec = StorageBackendSpec.model_validate(backend["spec"])
    for secret in secrets:
        assert backend["spec"]["credentialsSecretRef"]["name"] == secret["metadata"]["name"]
    config = BackendConfig(
        backend["metadata"]["name"],
        spec.type,
        spec.operator_path,
        parameters=spec.parameters,
        endpoint=spec.endpoint,
        credentials=secrets[0]["stringData"] if secrets else {},
    )
    built = Registry().build(config)
    await built.close()
    options = Registry().factory(spec.type).options
    names = {field.alias or name for name, field in options.model_fields.items()}
    assert names == set(spec.parameters), "an option that the page does not show"


def test_the_other_name_of_storage_scale_is_the_same():
    assert Registry().factory("spectrumscale") is not None
    assert Registry().factory("spectrumscale").options is Registry().factory("gpfs").options
