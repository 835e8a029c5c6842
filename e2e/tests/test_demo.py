"""What `make demo` tells is seen."""

import pytest

from e2e import demo
from e2e.world import World

pytestmark = pytest.mark.timeout(300)


def test_the_demo_is_told_to_its_end(
    site: World, team: str, capsys: pytest.CaptureFixture[str]
) -> None:
    demo.story(site, team)
    assert "restorable for 24 h: .trash-" in capsys.readouterr().out
