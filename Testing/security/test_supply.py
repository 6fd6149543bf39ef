"""What `make lint` says of the packages that we build on."""

import json
import sys
from email.message import Message

import pytest

pytest.importorskip("license_expression", reason="needs the extra `test`")

from . import supply


class Package:
    """As much of an installed package as the check looks at."""

    def __init__(self, name, **fields):
        self.metadata = Message()
        self.metadata["Name"] = name
        for field, values in fields.items():
            for value in [values] if isinstance(values, str) else values:
                self.metadata[field.replace("_", "-")] = value


@pytest.mark.parametrize(
    "fields",
    [
        {"License_Expression": "MIT"},
        {"License_Expression": "Apache-2.0 AND MIT"},
        {"License_Expression": "LGPL-3.0-only OR MIT"},
        {"License_Expression": "Apache-2.0 WITH LLVM-exception AND (GPL-3.0-only OR BSD-3-Clause)"},
        {"Classifier": ["License :: OSI Approved :: MIT License"], "License": "Copyright, all of it, at length"},
        {"License": "Apache 2.0"},
    ],
)
def test_what_may_be_used(fields):
    assert supply.licence_faults([Package("one", **fields)]) == []


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"License": "my own"},
        {"License": "UNKNOWN"},
        {"License_Expression": "GPL-3.0-or-later"},
        {"License_Expression": "MIT AND GPL-2.0-only"},
        {"License_Expression": "Apache-2.0 WITH something-else"},
        {"License_Expression": "MIT AND ("},
        {"License_Expression": "LicenseRef-Proprietary"},
        {"Classifier": ["License :: OSI Approved :: GNU General Public License (GPL)"]},
        {"Classifier": ["License :: Other/Proprietary License"], "License": "MIT-like"},
    ],
)
def test_what_may_not_be_used(fields):
    (fault,) = supply.licence_faults([Package("One_Package", **fields)])
    assert fault.startswith("one-package: ")


def test_exceptions_have_a_reason_and_a_need():
    gpl, free = {"License_Expression": "GPL-3.0-only"}, {"License_Expression": "MIT"}
    assert all(len(reason) > 20 for reason in supply.EXCEPTIONS.values())
    assert supply.licence_faults([Package("Codespell", **gpl)]) == []
    assert supply.licence_faults([Package("Codespell", **free)]) == [
        "codespell: has a licence that is allowed; drop its exception"
    ]


def says(stdout, stderr="", code=0):
    script = f"import sys; print({stdout!r}); print({stderr!r}, file=sys.stderr); sys.exit({code})"
    return supply.audit([sys.executable, "-c", script])


def test_an_audit_is_told():
    fine = {"name": "a", "version": "1", "vulns": []}
    bad = {"name": "b", "version": "2", "vulns": [{"id": "PYSEC-1"}]}
    unknown = {"name": "c", "skip_reason": "Dependency not found"}
    told, good = says(json.dumps({"dependencies": [fine, unknown]}))
    assert good and "1 packages" in told and told.endswith(": c")
    told, good = says(json.dumps({"dependencies": [fine, bad]}), code=1)
    assert not good and "b 2: PYSEC-1" in told


def test_without_a_service_nothing_is_audited_and_nothing_fails():
    unknown = {"name": "c", "skip_reason": "Dependency not found"}
    for audit in (
        says(json.dumps({"dependencies": [unknown, unknown]})),
        says("", "requests.exceptions.ConnectionError: no route", 1),
        says("", "ERROR:pip_audit._cli:Could not connect to PyPI's vulnerability feed", 1),
        says("", "Tip: your network may be blocking this service.", 1),
    ):
        assert audit == ("not audited: the advisory service cannot be reached", True)


def test_an_audit_that_breaks_fails():
    told, good = says("", "No module named pip_audit", 1)
    assert not good
    assert "No module named pip_audit" in told
