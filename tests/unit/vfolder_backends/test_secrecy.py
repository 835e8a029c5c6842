"""The watch over secrets finds one wherever it comes out, and nothing where none does."""

import logging
import subprocess
import sys

import pytest

from vfolder_backends.testing.arrays.simulated import presented
from vfolder_backends.testing.secrecy import listening

SECRET = "planted-51e1a7ed"
LOG = logging.getLogger("some.library")


def in_a_message():
    LOG.debug("sent %s", SECRET)


def in_a_field():
    LOG.info("array call", extra={"headers": {"Authorization": f"Bearer {SECRET}"}})


def in_a_logged_cause():
    try:
        try:
            raise ValueError(SECRET)
        except ValueError as cause:
            raise RuntimeError("said nothing") from cause
    except RuntimeError:
        LOG.exception("failed")


def in_an_argument_of_a_process():
    subprocess.run([sys.executable, "-c", "pass", f"--token={SECRET}"], check=True)


@pytest.mark.parametrize(
    "leak", [in_a_message, in_a_field, in_a_logged_cause, in_an_argument_of_a_process]
)
def test_a_planted_leak_is_found(leak):
    with listening() as texts:
        LOG.info("array call", extra={"result": 200})
        assert texts.leaks([SECRET]) == []
        leak()
        assert texts.leaks([SECRET])
        assert texts.leaks(["never-said"]) == []


def test_an_exception_is_looked_at_with_all_that_led_to_it():
    with listening() as texts:
        try:
            try:
                raise ValueError(SECRET)
            except ValueError as cause:
                raise RuntimeError("said nothing") from cause
        except RuntimeError as error:
            texts.caught(error)
        assert texts.leaks([SECRET])


def test_what_a_test_plants_is_looked_for_without_being_asked_about():
    with listening() as texts:
        texts.plant([SECRET])
        in_a_message()
    assert texts.leaks([])


def test_nothing_is_kept_after_the_test():
    with listening() as texts:
        pass
    in_a_message()
    in_an_argument_of_a_process()
    assert texts.texts == []


def test_what_callers_present_are_secrets():
    headers = {
        "authorization": "Basic dmZvbGRlcjpzZWNyZXQ=",
        "cookie": "isisessid=first; isicsrf=second",
        "x-csrf-token": "second",
        "referer": "https://array",
    }
    assert presented(headers) == {"dmZvbGRlcjpzZWNyZXQ=", "first", "second"}
