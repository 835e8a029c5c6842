"""The table of behaviours comes from reports of test runs, and trimmed documents stay whole."""

import pytest

from e2e import behaviour, trim_openapi

REPORT = """<testsuites><testsuite><testcase name="a"><properties>
<property name="behaviour.backend" value="weka"/><property name="behaviour.bytes" value="Enforced"/>
</properties></testcase><testcase name="b"/></testsuite></testsuites>"""


def test_a_report_becomes_a_row(tmp_path):
    report = tmp_path / "report.xml"
    report.write_text(REPORT)
    page = behaviour.table(behaviour.facts([report]))
    assert "| | weka |\n|---|---|\n| bytes | Enforced |\n" in page


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
