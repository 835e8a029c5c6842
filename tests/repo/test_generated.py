"""What is generated is what is checked in: CRDs, the chart's copy of them, the gRPC stubs."""

import pathlib
import subprocess
import sys

import pytest
import yaml

from e2e import behaviour
from vfolder_operator.crds.generate import KINDS, crd, to_yaml

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.kind)
def test_crds_models_and_chart_agree(kind: object) -> None:
    name = f"{kind.plural}.yaml"  # type: ignore[attr-defined]
    wanted = crd(kind)  # type: ignore[arg-type]
    written = (ROOT / "crds" / name).read_text()
    assert written.endswith(to_yaml(wanted)), "run `make crds`"
    assert yaml.safe_load(written) == wanted, "our YAML is not YAML"
    assert (ROOT / "charts/vfolder/files/crds" / name).read_text() == written, "run `make crds`"


def test_the_stubs_are_fresh(tmp_path: pathlib.Path) -> None:
    folder = ROOT / "csi/vfolder_csi/_proto"
    protos = sorted(folder.glob("*.proto"))
    outputs = [
        f"--{kind}_out={tmp_path}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")
    ]
    subprocess.run(
        [
            sys.executable,
            "-m",
            "grpc_tools.protoc",
            f"-I{ROOT / 'csi'}",
            *outputs,
            *map(str, protos),
        ],
        check=True,
        env={"PATH": str(pathlib.Path(sys.executable).parent)},
    )
    fresh = {p.name: p.read_text() for p in (tmp_path / "vfolder_csi/_proto").iterdir()}
    assert fresh, "nothing was generated"
    for name, text in fresh.items():
        assert (folder / name).read_text() == text, f"{name} differs: run `make proto`"


def test_the_table_of_behaviours_has_every_kind_of_backend() -> None:
    kinds = behaviour.kinds()
    page = behaviour.TARGET.read_text()
    assert page.startswith(f"{behaviour.HEAD}\n{behaviour.head(kinds)}\n"), (
        "run the conformance tier and `python -m e2e.behaviour`"
    )
    for row in page.removeprefix(behaviour.HEAD).strip().splitlines()[1:]:
        assert len([cell for cell in row.split("|") if cell.strip()]) == len(kinds) + 1, row


def test_versions_agree() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    chart = yaml.safe_load((ROOT / "charts/vfolder/Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == project["version"]
