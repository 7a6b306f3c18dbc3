"""Write the tables of `docs/licences.md`: every locked dependency, what needs it, and its licence.

Licences are read from the metadata of what is installed: the licence expression, else the trove classifiers, else the
text of the licence file. Nothing is guessed; where none of these says it, the script fails and names the package.

    python tools/licences.py           # writes the tables
    python tools/licences.py --check   # leaves with 1 when they are not up to date
"""

from __future__ import annotations

import pathlib
import re
import sys
import tomllib
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "licences.md"
BEGIN, END = "<!-- tools/licences.py begins -->", "<!-- tools/licences.py ends -->"

CLASSIFIERS = {
    "Apache Software License": "Apache-2.0",
    "MIT License": "MIT",
    "BSD License": "BSD",
    "ISC License (ISCL)": "ISC",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
    "GNU General Public License (GPL)": "GPL",
}
SILENT = {"OSI Approved", "DFSG approved"}
"""Classifiers that say of a licence what it fulfils, not which it is."""
SHORT = {
    "MIT License": "MIT", "Apache 2.0": "Apache-2.0", "Apache License 2.0": "Apache-2.0", "Apache-2": "Apache-2.0",
    "BSD": "BSD", "MIT": "MIT", "PSF": "PSF-2.0", "Apache Software License": "Apache-2.0", "3-clause BSD": "BSD-3-Clause",
    "BSD 3-Clause License": "BSD-3-Clause", "BSD-3-Clause": "BSD-3-Clause", "Apache-2.0": "Apache-2.0",
}  # fmt: skip
TEXTS = (
    ("Apache-2.0", r"Apache License\s+Version 2\.0"),
    ("MIT", r"Permission is hereby granted, free of charge"),
    ("BSD-3-Clause", r"Redistribution and use in source and binary forms.*Neither the name"),
    ("BSD-2-Clause", r"Redistribution and use in source and binary forms"),
    ("MPL-2.0", r"Mozilla Public License Version 2\.0"),
)


def locked() -> list[str]:
    """The names that the lock pins."""
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    return [canonicalize_name(name) for name in re.findall(r"^([A-Za-z0-9._-]+)==", text, re.MULTILINE)]


def declared() -> dict[str, str]:
    """Direct dependencies and where pyproject names them: `base`, `up` or `dev`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = {"base": project["dependencies"], **project["optional-dependencies"]}
    own = canonicalize_name(project["name"])
    found: dict[str, str] = {}
    for group, requirements in groups.items():
        for text in requirements:
            name = canonicalize_name(Requirement(text).name)
            if name != own:
                found.setdefault(name, group)
    return found


def licence(name: str) -> str:
    """The licence of an installed distribution; `LookupError` where its metadata does not say."""
    found = metadata.metadata(name)
    expression = found.get("License-Expression")
    if expression:
        return str(expression)
    tails = [one.rsplit(" :: ", 1)[1] for one in found.get_all("Classifier") or [] if one.startswith("License ::")]
    named = sorted({CLASSIFIERS.get(one, one) for one in tails if one not in SILENT})
    text = _file(name)
    if named and named != ["BSD"]:
        return " OR ".join(named)
    declared_as = (found.get("License") or "").strip()
    if declared_as in SHORT and SHORT[declared_as] != "BSD":
        return SHORT[declared_as]
    for short, pattern in TEXTS:
        if re.search(pattern, f"{text}\n{declared_as}", re.DOTALL):
            return short
    if named or declared_as in SHORT:
        return named[0] if named else SHORT[declared_as]
    raise LookupError(f"{name} does not say its licence")


def _file(name: str) -> str:
    paths = [path for path in metadata.files(name) or [] if ".dist-info" in str(path)]
    named = [pathlib.Path(str(path.locate())) for path in paths if re.match(r"(?i)(licen[cs]e|copying)", path.name)]
    return "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in named)


def needed_by(names: list[str]) -> dict[str, list[str]]:
    """Which of the locked distributions require which other ones."""
    found: dict[str, set[str]] = {}
    for name in names:
        for text in metadata.requires(name) or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                found.setdefault(canonicalize_name(requirement.name), set()).add(name)
    return {name: sorted(users) for name, users in found.items()}


def tables() -> str:
    """The two tables as Markdown."""
    direct, names = declared(), sorted(locked())
    installed = {canonicalize_name(one.name) for one in metadata.distributions()}
    missing = [name for name in direct if name not in installed]
    if missing:
        raise LookupError(f"not installed: {', '.join(missing)}; run `make setup`")
    here = [name for name in names if name in installed]
    users = needed_by(here)
    lines = ["## Direct", "", "| distribution | extra | licence |", "| --- | --- | --- |"]
    lines += [f"| {name} | {group} | {licence(name)} |" for name, group in sorted(direct.items())]
    lines += ["", "## Through others", "", "| distribution | needed by | licence |", "| --- | --- | --- |"]
    for name in here:
        if name not in direct:
            lines.append(f"| {name} | {', '.join(users.get(name, ['an extra'])[:3])} | {licence(name)} |")
    elsewhere = [name for name in names if name not in installed]
    if elsewhere:
        lines += ["", f"Locked for other platforms or Pythons, not read here: {', '.join(elsewhere)}."]
    return "\n".join(lines)


def main() -> int:
    """Write or check the page."""
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    fresh = f"{before}{BEGIN}\n\n{tables()}\n\n{END}{after}"
    if "--check" in sys.argv:
        return 0 if fresh == page else 1
    PAGE.write_text(fresh, encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
