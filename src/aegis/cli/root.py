"""The root command: finds the command's module lazily, and turns every error into one form and one exit code."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

import click

from aegis import __version__
from aegis.cli import COMMANDS
from aegis.cli.output import fail
from aegis.core.errors import AegisError, UserError

BUG_EXIT = 70
INTERRUPTED_EXIT = 130


class _Root(click.Group):
    """A group whose commands are imported when they are named."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module = importlib.import_module(f"aegis.cli.{entry[0]}")
        found: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in sorted(COMMANDS)])


@click.group(cls=_Root, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", message="aegis %(version)s")
def root() -> None:
    """Aegis carries a change from commit to production and proves it."""


def run(argv: Sequence[str] | None = None) -> None:
    """Run a command line and leave the process with its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    as_json = "--json" in arguments or "--json-lines" in arguments
    try:
        root.main(args=arguments, prog_name="aegis", standalone_mode=False)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.exceptions.Abort:
        sys.exit(INTERRUPTED_EXIT)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED_EXIT)
    except click.UsageError as error:
        usage = error.ctx.get_usage() if error.ctx else "aegis --help"
        fail(UserError("usage", error.format_message(), hint=usage.replace("Usage: ", "").strip()), as_json=as_json)
    except click.ClickException as error:
        fail(UserError("usage", error.format_message()), as_json=as_json)
    except AegisError as error:
        fail(error, as_json=as_json)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:  # noqa: BLE001 - the one place where a bug is caught
        _report(error, as_json=as_json)


def _report(error: Exception, *, as_json: bool) -> None:
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile("w", prefix="aegis-bug-", suffix=".txt", delete=False) as file:
        file.write(f"aegis {__version__}\n{' '.join(sys.argv[:2])}\n\n")
        file.write("".join(traceback.format_exception(error)))
    bug = AegisError(
        "bug", f"{type(error).__name__}: {error}", hint=f"this is our mistake; the report {file.name} helps us mend it"
    )
    fail(bug, as_json=as_json)
