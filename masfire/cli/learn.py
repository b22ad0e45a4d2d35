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

    Each failure is diagnosed without its ground truth. What it looks like is remembered as a schema,
    and failures of one subject make one note, which helps nobody before a trial accepted it (--try).

    \b
    Exit code 0 when something was learnt, 3 when no failed run could be diagnosed.

    \b
    Examples:
      masfire learn results/first --tests tests/test_regressions.py --try
      masfire learn results/first --try --as rewrite
    """
    from masfire.campaign.learning import failures, learn, regression_tests, trials
    from masfire.campaign.rerun import rerunning
    from masfire.knowledge.memory import Memory
    from masfire.knowledge.notebook import Notebook
    from masfire.knowledge.opening import open_store

    ask, model = _model() if ask_model else (None, "")
    with open_store(where) as store:
        memory, notebook = Memory(store), Notebook(store)
        path = Path(folder)
        if tests:
            found = list(failures(path, memory))
            Path(tests).parent.mkdir(parents=True, exist_ok=True)
            Path(tests).write_text(regression_tests(found, Path(tests)), encoding="utf-8")
        with _bar(form, "failed runs") as watch:
            lesson = learn(path, memory, notebook, watch=watch, ask=ask, model=model, way=way)
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
        "recurrences": [{"run": run, "schema": schema} for run, schema in lesson.recurrences],
        "schemata": list(lesson.schemata),
        "notes": [_told(note) for note in notes],
        "tests": tests or "",
        "memory": where,
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

    click.echo(
        f"{result['failed']} failed runs, {result['undiagnosed']} of them undiagnosed, "
        f"{len(result['recurrences'])} known already"
    )
    click.echo(f"{len(result['schemata'])} schemata in {printable(result['memory'], limit=200)}")
    for note in result["notes"]:
        trial = note["trial"]
        score = f": {trial['wins']} wins, {trial['losses']} losses of {trial['of']}" if trial else ""
        why = f" ({'; '.join(trial['reasons'])})" if trial and trial["reasons"] else ""
        line = f"{note['status']:>8}  {note['subject']}  from {note['from']}{score}{why}"
        click.echo(printable(line, limit=300))
    if result["tests"]:
        click.echo(f"tests: {printable(result['tests'], limit=200)}")


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
