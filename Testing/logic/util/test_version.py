"""The name and version of the distribution, and hints on extras that work before there is a release."""

import re
from pathlib import Path

import pytest

from DeepSegLogic.util import version

CHECKOUT = Path(__file__).resolve().parents[3]
PROJECT = (CHECKOUT / "pyproject.toml").read_text("utf-8")
_OPTIONAL = PROJECT.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
EXTRAS = set(re.findall(r"^(\w+) = \[", _OPTIONAL, re.M))


@pytest.fixture(autouse=True)
def outside_slicer(monkeypatch):
    monkeypatch.delenv("SLICER_HOME", raising=False)


def test_one_name_everywhere():
    assert f'name = "{version.DISTRIBUTION}"' in PROJECT
    assert set(re.findall(r'"([\w-]+)\[\w+\]"', PROJECT)) == {version.DISTRIBUTION}
    assert f'version = "{version.__version__}"' in PROJECT


def test_no_text_tells_to_install_a_strangers_package():
    """`deepseg` on the package index is a word segmenter."""
    texts = [*CHECKOUT.glob("docs/*.md"), *(p for p in CHECKOUT.glob("DeepSeg*/**/*.py"))]
    assert [p.name for p in texts if re.search(r"pip3? install \"?deepseg\b", p.read_text("utf-8"))] == []


def test_in_a_checkout():
    assert version.how_to_install("web") == f'In {CHECKOUT}, run: pip install -e ".[web]"'


def test_installed_by_pip_the_packages_themselves_are_named(monkeypatch, tmp_path):
    listed = ["numpy>=1.24", 'monai>=1.4; extra == "monai"', "pyyaml>=6; extra == 'monai'", "ruff; extra == 'test'"]
    monkeypatch.setattr(version, "_CHECKOUT", tmp_path)
    monkeypatch.setattr("importlib.metadata.requires", lambda name: listed)
    assert version.how_to_install("monai") == 'Run: pip install "monai>=1.4" "pyyaml>=6"'


def test_in_slicer_nothing_that_slicer_ships_is_replaced(monkeypatch):
    monkeypatch.setenv("SLICER_HOME", "/opt/slicer")
    assert version.how_to_install("monai").endswith('slicer.util.pip_install("--no-deps monai pyyaml")')
    for extra, packages in version._IN_SLICER.items():
        assert extra in EXTRAS
        for package in packages.split():
            assert f'"{package}>=' in PROJECT
