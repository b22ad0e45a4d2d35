"""`masfire learn`: failed runs become notes, schemata and regression tests."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from masfire.cli import EXIT_CODES
from masfire.cli.options import formatted, print_json

if TYPE_CHECKING:
    from masfire.campaign.learning import Way
    from masfire.knowledge.model import MistakeNote
    from masfire.trace.model import Trace

DEFAULT = ".masfire/memory.sqlite"


@click.command(name="learn", epilog=EXIT_CODES)
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False))
@click.option("--memory", "where", default=DEFAULT, show_default=True, metavar="FILE|URL",
              help="A SQLite file, or postgresql://… for a shared memory.")  # fmt: skip
@click.option("--tests", type=click.Path(dir_okay=False), metavar="FILE",
              help="Write a pytest file that fails while these failures still happen.")  # fmt: skip
@click.option("--try", "trying", is_flag=True,
              help="Run the failed runs again with each note; accept a note only if that helps.")  # fmt: skip
@click.option("--as", "way", type=click.Choice(["prompt", "rewrite"]), default="prompt", show_default=True,
              help="With --try: use each note in prompts, or to rewrite what agents propose.")  # fmt: skip
@click.option("--ask-model", is_flag=True,
              help="Let the model of OPENAI_BASE_URL and OPENAI_MODEL word notes and questions.")  # fmt: skip
@formatted
def command(
    folder: str, where: str, tests: str | None, trying: bool, way: Way, ask_model: bool, form: str
) -> int:
    """Learn from the failed runs in DIR: a campaign's folder, or a folder of traces.

    Each failure is diagnosed without its ground truth, compared with the folder's solved fault-free run of
    the same task and seed; a failure is counted once, however often you learn from it. What it looks like
    is remembered as a schema, and failures of one subject make one note, which helps nobody before a trial
    accepted it (--try).

    \b
    Exit code 0 when something was learnt, 3 when no failed run could be diagnosed.

    \b
    Examples:
      masfire learn results/first --tests tests/test_regressions.py --try
      masfire learn results/first --try --as rewrite
    """
    from masfire.campaign.learning import Failed, learn, trials
    from masfire.campaign.regressions import Written, write_regression_tests
    from masfire.campaign.rerun import rerunning
    from masfire.knowledge.memory import Memory
    from masfire.knowledge.notebook import Notebook
    from masfire.knowledge.opening import open_store

    if way == "rewrite" and not trying:
        raise click.UsageError("--as says how to use notes on trial: give it with --try.")
    _usable(where)
    ask, model = _model() if ask_model else (None, "")
    written = Written()
    found: list[tuple[Path, Trace]] = []

    def each(one: Failed) -> None:
        if tests:
            found.append((one.path, one.trace))

    path = Path(folder)
    with open_store(where) as store:
        memory, notebook = Memory(store), Notebook(store)
        with _bar(form, "failed runs") as watch:
            lesson = learn(path, memory, notebook, watch=watch, ask=ask, model=model, way=way, each=each)
        if tests:
            written = write_regression_tests(found, Path(tests))
        schemata = memory.schemata()
        notes = list(lesson.notes)
        if trying and notes:
            with (
                contextlib.redirect_stdout(sys.stderr),  # what the systems print is not our result
                rerunning(path) as rerunner,
                _bar(form, "trial runs") as watch,
            ):
                notes = trials(rerunner, notebook, notes, watch=watch, way=way)
    result: dict[str, Any] = {
        "failed": lesson.failed,
        "undiagnosed": lesson.unknown,
        "uncompared": lesson.uncompared,
        "recurrences": [{"run": run, "schema": schema} for run, schema in lesson.recurrences],
        "schemata": list(lesson.schemata),
        "notes": [_told(note) for note in notes],
        "tests": [str(file) for file in written.files],
        "without_test": [{"run": run, "why": why} for run, why in written.left],
        "memory": where,
        "holds": {"schemata": len(schemata), "general": sum(one.general for one in schemata)},
    }
    if form == "json":
        print_json(result)
    else:
        _tell(result)
    return 0 if lesson.schemata else 3


def _model() -> tuple[Callable[[str], str], str]:
    """Return how to ask the configured model, and its name; raise UsageError when there is none."""
    from masfire.errors import UsageError
    from masfire.models.asking import asker
    from masfire.models.endpoint import configured

    endpoint = configured()
    if endpoint is None:
        raise UsageError(
            "--ask-model needs a model.", hint="Set OPENAI_BASE_URL, OPENAI_MODEL and OPENAI_API_KEY."
        )
    return asker(endpoint), endpoint.model


def _told(note: MistakeNote) -> dict[str, Any]:
    told: dict[str, Any] = {
        "id": note.id,
        "subject": note.subject.key,
        "status": note.status,
        "from": note.support,
        "trial": None,
    }
    if note.trial is not None:
        told["trial"] = {
            "wins": note.trial.wins,
            "losses": note.trial.losses,
            "of": len(note.trial.batch),
            "way": note.trial.way,
            "reasons": list(note.trial.reasons),
        }
    return told


def _tell(result: dict[str, Any]) -> None:
    from masfire.reporting.printable import printable

    failed, uncompared = result["failed"], result["uncompared"]
    click.echo(
        f"{failed} failed runs; {result['undiagnosed']} could not be diagnosed, "
        f"{len(result['recurrences'])} show an error that the memory knew before"
    )
    if uncompared:
        click.echo(
            f"  {uncompared} of them had no solved run of their task and seed here to compare with: "
            "their diagnosis is a guess by the origin of the answer's facts"
        )
    holds, where = result["holds"], printable(result["memory"], limit=200)
    click.echo(
        f"{len(result['schemata'])} schemata of these runs; {where} now holds {holds['schemata']}, "
        f"{holds['general']} of them what others have in common"
    )
    for note in result["notes"]:
        trial = note["trial"]
        score = f": {trial['wins']} wins, {trial['losses']} losses of {trial['of']}" if trial else ""
        why = f" ({'; '.join(trial['reasons'])})" if trial and trial["reasons"] else ""
        line = f"{note['status']:>8}  {note['subject']}  from {note['from']}{score}{why}"
        click.echo(printable(line, limit=300))
    for file in result["tests"]:
        click.echo(f"tests: {printable(file, limit=200)}")
    for one in result["without_test"]:
        click.echo(printable(f"no test for run {one['run']}: {one['why']}", limit=300), err=True)


def _usable(where: str) -> None:
    """Raise UsageError when a memory's folder is not there; only the default's is made."""
    from masfire.errors import UsageError

    folder = Path(where).parent
    if "://" not in where and where != DEFAULT and not folder.is_dir():
        raise UsageError(f"There is no folder {folder} for the memory {where}.", hint="Make it first.")


@contextlib.contextmanager
def _bar(form: str, what: str) -> Iterator[Callable[[], None]]:
    """Yield a counter of finished runs, shown as a spinner on a terminal."""
    if form == "json" or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.completed} {task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(what, total=None)
        yield lambda: progress.advance(task)
