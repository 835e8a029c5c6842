import json
import logging

import pytest

from vfolder_csi.logs import CORRELATION, SECRETS, JsonFormatter, known_secrets


@pytest.fixture
def printed():
    correlation, secrets = CORRELATION.set("c1"), SECRETS.set(known_secrets(["planted", "no"]))

    def format_record(message, *args, exc_info=None, **extra):
        record = logging.makeLogRecord(
            {"name": "n", "levelname": "INFO", "msg": message, "args": args, **extra}
        )
        record.exc_info = exc_info
        return json.loads(JsonFormatter().format(record))

    yield format_record
    CORRELATION.reset(correlation)
    SECRETS.reset(secrets)


def test_a_line_is_one_object(printed):
    line = printed("mounted %s\nwell", "it", volume="v", duration=0.5)
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "INFO",
        "logger": "n",
        "message": "mounted it\nwell",
        "correlation": "c1",
        "volume": "v",
        "duration": 0.5,
    }


def test_secrets_are_cut_out_everywhere(printed):
    try:
        raise ValueError("the planted one")
    except ValueError as error:
        info = (type(error), error, error.__traceback__)
    line = printed("a %s", "planted", exc_info=info, error="planted?")
    assert "planted" not in json.dumps(line)
    assert line["message"] == "a ***"
    assert line["error"] == "***?"
    assert "the *** one" in line["exception"]


def test_short_values_do_not_shred_the_line(printed):
    assert printed("no secret")["message"] == "no secret"
