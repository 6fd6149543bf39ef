"""What we build on: known vulnerabilities and licences of all installed packages; ``make lint`` runs it."""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
from importlib.metadata import Distribution

from license_expression import ExpressionError, LicenseWithExceptionSymbol, get_spdx_licensing

ALLOWED = {
    "0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0",
    "HPND", "ISC", "MIT", "MIT-0", "MIT-CMU", "MPL-2.0", "PSF-2.0", "Python-2.0", "Unlicense", "Zlib",
}  # fmt: skip
"""What may be distributed along with Apache-2.0, as SPDX names it."""
OLD_NAMES = {
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "bsd": "BSD-3-Clause",
    "bsd license": "BSD-3-Clause",
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "python software foundation license": "PSF-2.0",
    "the unlicense (unlicense)": "Unlicense",
}
"""What packages say that do not keep to SPDX."""
EXCEPTIONS = {
    "codespell": "GPL. A tool that reads our texts; nothing that we distribute needs it.",
    "pyside6-essentials": "LGPL. For tests alone (Testing/host); nothing that we distribute needs it.",
    "shiboken6": "LGPL. Belongs to pyside6-essentials.",
}
"""Packages that are used all the same, and why that is right."""

UNREACHED = "not audited: the advisory service cannot be reached"
_UNREACHABLE = re.compile(r"connect|timed? ?out|resolve host|network|HTTPError", re.IGNORECASE)


def name_of(package: Distribution) -> str:
    """The name as package indexes write it."""
    return package.metadata["Name"].lower().replace("_", "-").replace(".", "-")


def licence_of(package: Distribution) -> str:
    """What a package says, as an SPDX expression where that is known, else as it says it."""
    said = package.metadata.get("License-Expression")
    if said:
        return said
    trove = [c.rpartition(" :: ")[2] for c in package.metadata.get_all("Classifier", []) if c.startswith("License :: ")]
    known = [OLD_NAMES[words.lower()] for words in trove if words.lower() in OLD_NAMES]
    said = " ".join((package.metadata.get("License") or "").split())
    return " OR ".join(known) or OLD_NAMES.get(said.lower(), said) or ", ".join(trove) or "nothing"


def is_allowed(expression: str) -> bool:
    """Whether a licence is on the list: of "A OR B" one of them, of "A AND B" both."""
    spdx = get_spdx_licensing()
    try:
        parsed = spdx.parse(expression, validate=True, strict=True)
    except ExpressionError:
        return False
    return _holds(parsed)


def _holds(node) -> bool:
    if node.isliteral or isinstance(node, LicenseWithExceptionSymbol):
        return node.render() in ALLOWED
    return (any if type(node).__name__ == "OR" else all)(_holds(part) for part in node.args)


def licence_faults(packages: list[Distribution]) -> list[str]:
    """A line for each package whose licence is not allowed, and for each exception without need."""
    refused = {name_of(p): licence_of(p) for p in packages if not is_allowed(licence_of(p))}
    faults = [f"{name}: {licence}" for name, licence in sorted(refused.items()) if name not in EXCEPTIONS]
    needless = {name_of(p) for p in packages} & EXCEPTIONS.keys() - refused.keys()
    return faults + [f"{name}: has a licence that is allowed; drop its exception" for name in sorted(needless)]


def audit(command: list[str]) -> tuple[str, bool]:
    """What an audit found, and whether that is fine; without the advisory service it is.

    Args:
        command: pip-audit, writing JSON.
    """
    ran = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    try:
        packages = json.loads(ran.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        if _UNREACHABLE.search(ran.stderr):
            return UNREACHED, True
        return f"failed: {(ran.stderr.strip().splitlines() or ['it says nothing'])[-1][:300]}", False
    found = [f"{p['name']} {p['version']}: {v['id']}" for p in packages for v in p.get("vulns", [])]
    skipped = sorted(p["name"] for p in packages if "skip_reason" in p)
    if found:
        return "\n".join(["known vulnerabilities:", *found]), False
    if len(skipped) == len(packages):  # a mirror without advisories knows none of them
        return UNREACHED, True
    unknown = f"; not in the advisory service: {', '.join(skipped)}" if skipped else ""
    return f"{len(packages) - len(skipped)} packages without known vulnerabilities{unknown}", True


def main() -> int:
    """Check both; returns 1 if something is wrong."""
    faults = licence_faults(list(importlib.metadata.distributions()))
    print("\n".join(["licences that are not allowed:", *faults]) if faults else "licences: all allowed")
    said, fine = audit([sys.executable, "-m", "pip_audit", "--format=json", "--progress-spinner=off", "--timeout=10"])
    print(f"pip-audit: {said}")
    return int(bool(faults) or not fine)


if __name__ == "__main__":
    sys.exit(main())
