"""A pipeline file looked at from the inside: what it became, and what was found. Values and one question."""

from __future__ import annotations

from aegis.core.values import dataclass
from aegis.pipeline.conditions import Context
from aegis.pipeline.configuration import Configuration
from aegis.pipeline.diagnostics import Diagnostic
from aegis.pipeline.graph import Names
from aegis.pipeline.request import Compilation


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What `lint` and editors ask. `configuration` and `names` are None where the file could not be put together."""

    compilation: Compilation
    configuration: Configuration | None
    names: Names | None
    context: Context
    root_file: str

    def advice(self) -> tuple[Diagnostic, ...]:
        """Advice on a valid file; nothing on one that is not valid yet."""
        if self.configuration is None or self.names is None or self.compilation.errors:
            return ()
        from aegis.pipeline import advice  # noqa: PLC0415 - compiling needs none

        return advice.advise(
            advice.Subject(
                configuration=self.configuration, names=self.names, context=self.context, root_file=self.root_file
            )
        )
