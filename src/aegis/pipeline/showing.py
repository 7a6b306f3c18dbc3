"""The merged configuration as YAML text: after includes, `extends`, anchors and references, as GitLab shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def merged_yaml(merged: Mapping[str, Any]) -> str:
    """The text. Text over several lines is written as a block, so that scripts stay readable."""
    import yaml  # noqa: PLC0415 - only this needs to write YAML

    class Dumper(yaml.SafeDumper):
        """Block style for lines, nothing shared between places."""

        def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the base class's signature
            return True

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        style = "|" if "\n" in value.rstrip("\n") or value.endswith("\n") else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    written: str = yaml.dump(
        {name: merged[name] for name in merged},
        Dumper=Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=False,
        width=1 << 30,
        explicit_start=True,
    )
    return written
