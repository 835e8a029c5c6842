"""The table of behaviours comes from reports of test runs, and trimmed documents stay whole."""

import pytest

from e2e import behaviour, trim_openapi


def report(module, backend, level):
    return f"""<testsuites><testsuite><testcase classname="tests.{module}" name="a"><properties>
<property name="behaviour.backend" value="{backend}"/>
<property name="behaviour.bytes" value="{level}"/>
</properties></testcase><testcase name="b"/></testsuite></testsuites>"""


def test_a_report_becomes_a_column(tmp_path):
    reports = [tmp_path / "report.xml", tmp_path / "again.xml", tmp_path / "other.xml"]
    reports[0].write_text(report("test_weka", "weka", "Enforced"))
    reports[1].write_text(report("guest.test_weka", "weka", "None"))
    reports[2].write_text(report("test_vfs", "vfs", "None"))
    names = {"weka": ["alias"], "vfs": []}
    page = behaviour.table(behaviour.facts(reports), names)
    assert "\n| | weka, alias | vfs |\n|---|---|---|\n| bytes | Enforced | None |\n" in page
    assert behaviour.table(behaviour.facts(reversed(reports)), names) == page


def test_only_what_is_referred_to_is_kept():
    quota = {"properties": {"description": {"type": "string", "description": "words"}}}
    source = {
        "openapi": "3.0.0",
        "info": {"title": "t", "version": "1", "description": "words"},
        "paths": {"/a": {"get": {"x": {"$ref": "#/components/schemas/A"}}}, "/b": {}},
        "components": {"schemas": {"A": {"$ref": "#/components/schemas/B"}, "B": quota, "C": {}}},
    }
    made = trim_openapi.trim(source, ["/a"])
    assert sorted(made["components"]["schemas"]) == ["A", "B"]
    assert made["components"]["schemas"]["B"]["properties"] == {"description": {"type": "string"}}
    assert "words" not in str(made)
    with pytest.raises(KeyError):
        trim_openapi.trim(source, ["/c"])
