"""The command line: parse, call, print."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import click

from masfire import __version__
from masfire.errors import MasfireError

EXIT_CODES = """\b
Exit codes:
  0    passed
  1    a contract or a threshold failed
  2    usage: an option, a plan or a file is wrong (no trace at all), or something is not installed
  3    inconclusive: a trace is damaged, an injection was invalid, or nothing was run
  130  stopped by Ctrl-C; what is done is kept"""

_COMMANDS = {
    "campaign": "Break systems by faults and measure what they survive.",
    "cascade": "Measure how errors spread through the systems of an attack plan.",
    "check": "Judge traces and event logs by contracts.",
    "contracts": "Check, explain and test contracts themselves.",
    "diagnose": "Say who caused a failure, and at which step.",
    "doctor": "Say what is missing: for a plan, for a trace, or here.",
    "faults": "List the faults, or explain one.",
    "genealogy": "Show which claim of a trace came from which.",
    "govern": "Try a policy on recorded runs; verify an audit log.",
    "learn": "Turn failed runs into notes, schemata and regression tests.",
    "memory": "List, export, import or thin out what was learnt.",
    "replay": "Run a recorded run again, answered from its record.",
    "risk": "Say how far an error would spread, before anything is injected.",
    "run": "Run one cell of a plan.",
    "show": "Tell a trace step by step.",
    "taxonomy": "List, explain and map kinds of errors.",
    "version": "Print the version.",
}


class _Commands(click.Group):
    """Commands that are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"masfire.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in _COMMANDS:
            from masfire.errors import UnknownName

            raise click.UsageError(str(UnknownName("command", args[0], _COMMANDS)))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(
    cls=_Commands,
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="masfire")
def group() -> None:
    """Record, break, judge and guard multi-agent LLM systems.

    \b
    Example:
      masfire campaign plan.yaml --out results/first
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and end the process with its exit code."""
    sys.exit(execute(arguments))


def execute(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code. An error of masfire is one message, no traceback."""
    try:
        code = group.main(args=arguments, prog_name="masfire", standalone_mode=False)
    except MasfireError as error:
        return _complain(str(error), error.exit_code)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _complain("Stopped.", 130)
    except BrokenPipeError:  # the reader of our output had enough
        sys.stdout = None
        return 0
    except OSError as error:  # a folder that is a file, a disk that is full
        where = f"{error.filename}: " if error.filename else ""
        return _complain(
            f"{where}{error.strerror or error}. Check the path, its permissions and its disk.", 2
        )
    return code if isinstance(code, int) else 0


def _complain(message: str, code: int) -> int:
    from masfire.reporting.printable import printable

    click.echo(f"masfire: {printable(message, lines=True)}", err=True)
    return code
