"""How pip reaches its index on this machine, made portable into a build.

pip's files and variables are merged as pip itself would do, so that whatever mirror, proxy or
certificate works here also works inside a build, and none of it stands in a file of the project.
"""

import configparser
from collections.abc import Mapping
from pathlib import Path

#: The file that pip reads whoever runs it.
GLOBAL_FILE = Path("/etc/pip.conf")
_SYSTEM_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def merge(environ: Mapping[str, str]) -> configparser.RawConfigParser:
    """All settings of this machine as one file for `GLOBAL_FILE`; variables win over files."""
    settings = configparser.RawConfigParser()
    home = Path(environ.get("HOME", "/"))
    user = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    files = [GLOBAL_FILE, home / ".pip" / "pip.conf", user / "pip" / "pip.conf"]
    if chosen := environ.get("PIP_CONFIG_FILE"):
        files.append(Path(chosen))
    settings.read(files)
    if not settings.has_section("global"):
        settings.add_section("global")
    if _SYSTEM_CERTIFICATES.exists() and not settings.has_option("global", "cert"):
        settings.set("global", "cert", str(_SYSTEM_CERTIFICATES))
    for name, value in environ.items():
        if name.startswith("PIP_") and name != "PIP_CONFIG_FILE":
            option = name.removeprefix("PIP_").lower().replace("_", "-")
            for section in settings.sections():
                settings.remove_option(section, option)
            settings.set("global", option, value)
    return settings


def local_paths(settings: configparser.RawConfigParser) -> list[Path]:
    """The files and folders of this machine that pip's settings speak of."""
    words = (
        word
        for section in settings.sections()
        for value in settings[section].values()
        for word in value.split()
    )
    return sorted({Path(word) for word in words if word.startswith("/") and Path(word).exists()})
