"""What a server is installed with: the unit of systemd, and what a container is built from."""

import shutil
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
UNIT = CHECKOUT / "Resources" / "Server" / "deepseg.service"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
@pytest.mark.parametrize(
    ("change", "complaint"),
    [(("", ""), ""), (("ProtectHome=", "ProtectHouse="), "Unknown key"), (("on-failure", "sometimes"), "sometimes")],
)
def test_systemd_knows_every_setting_of_the_unit(change, complaint, tmp_path):
    """The complaints of changed ones show that it looks."""
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text("utf-8").replace("/opt/deepseg/bin/deepseg", "/bin/sh").replace(*change), "utf-8")
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, encoding="utf-8")
    told = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert [complaint in line for line in told] == ([True] if complaint else [])


def test_a_container_is_built_from_what_the_package_needs_and_no_more():
    tomllib = pytest.importorskip("tomllib", reason="Python 3.11 has it")
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text("utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {*wheel["packages"], *wheel["force-include"], project["project"]["readme"], "pyproject.toml"}
    needed |= {*project["project"]["license-files"], "constraints.txt"}
    lines = (CHECKOUT / ".dockerignore").read_text("utf-8").splitlines()
    assert lines[1] == "*", "all else stays out: .git, environments, volumes of patients"
    assert {line[1:] for line in lines if line.startswith("!")} == {path.split("/")[0] for path in needed}
