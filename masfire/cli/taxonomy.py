"""`masfire taxonomy`: kinds of errors listed, explained and mapped."""

from __future__ import annotations

import difflib
from typing import Any

import click

from masfire.cli import EXIT_CODES
from masfire.cli.options import formatted, print_json

UNCLASSIFIED = "unclassified"
"""What `learn` calls an error that no sign gives away (`masfire.recovery.blaming.OTHER`)."""


@click.group(name="taxonomy", epilog=EXIT_CODES)
def command() -> None:
    """List, explain and map kinds of errors: the 15 faults, MAST, TRAIL, AgentRx and others.

    \b
    Examples:
      masfire taxonomy list mast
      masfire taxonomy explain mast:FM-1.3
      masfire taxonomy map masfire:memory_loss --to mast
    """


@command.command(name="list", epilog=EXIT_CODES)
@click.argument("name", required=False)
@formatted
def list_(name: str | None, form: str) -> None:
    """List the taxonomies, or the kinds of errors of the one called NAME.

    \b
    Example:
      masfire taxonomy list trail
    """
    from masfire import taxonomy

    if name is None:
        rows = [_summary(taxonomy.kinds(one)) for one in taxonomy.names()]
        if form == "json":
            print_json(rows)
            return
        for row in rows:
            click.echo(f"{row['name']:<14}{row['entries']:>3} kinds  {row['title']} ({row['source']})")
        return
    found = taxonomy.kinds(name)
    if form == "json":
        print_json(_builtins(found))
        return
    click.echo(f"{found.title} ({found.source})")
    for group, meaning in found.groups.items():
        click.echo(f"\n{group}: {meaning}")
        for one in found.entries:
            if one.group == group:
                click.echo(f"  {one.id:<34}{one.definition}")


@command.command(epilog=EXIT_CODES)
@click.argument("kind", metavar="[TAXONOMY:]ID")
@formatted
def explain(kind: str, form: str) -> None:
    """Explain one kind of error: what it is, examples, how to notice it, what it relates to.

    The taxonomy may be left out when no other knows that id or name. Signs by which `diagnose` and
    `learn` name an error whose kind nobody knows (claim:conflict) are explained as well.

    \b
    Example:
      masfire taxonomy explain agentrx:invalid_invocation
    """
    from masfire import taxonomy
    from masfire.knowledge.questions import known_trait

    if known_trait(kind) or kind == UNCLASSIFIED:
        _explain_sign(kind, form)
        return
    place, identity = _parted(kind)
    owner = taxonomy.kinds(place)
    found = owner.entry(identity)
    relations = taxonomy.related(f"{place}:{found.id}")
    if form == "json":
        related = [{"relation": relation, "to": other} for relation, other in relations]
        print_json({"taxonomy": place, **_builtins(found), "source": found.source or owner.source}
                   | {"related": related})  # fmt: skip
        return
    click.echo(f"{place}:{found.id}  {found.name}  ({found.group})")
    click.echo(f"  means    {found.definition}")
    for example in found.examples:
        click.echo(f"  example  {example}")
    for hint in found.hints:
        click.echo(f"  hint     {hint}")
    for relation, other in relations:
        click.echo(f"  {relation:<8} {other}")
    click.echo(f"  source   {found.source or owner.source}")


def _explain_sign(sign: str, form: str) -> None:
    from masfire.knowledge.notebook import ADVICE
    from masfire.knowledge.questions import question_of

    right, wrong = ADVICE.get(sign, ("", ""))
    if sign == UNCLASSIFIED:
        asks = "Did the step make the run fail though no sign gives it away?"
    else:
        asks = question_of(sign)
    if form == "json":
        print_json({"sign": sign, "question": asks, "wrong": wrong, "right": right})
        return
    click.echo(f"{sign}  a sign that a step shows, not a kind of a taxonomy")
    click.echo(f"  asks     {asks}")
    if wrong:
        click.echo(f"  wrong    {wrong}")
        click.echo(f"  right    {right}")


@command.command(name="map", epilog=EXIT_CODES)
@click.argument("kind", metavar="[TAXONOMY:]ID")
@click.option("--to", default="", metavar="TAXONOMY", help="Only kinds of this taxonomy.")
@formatted
def map_(kind: str, to: str, form: str) -> None:
    """Say what a kind of error is called elsewhere, and whether that is equal, narrower or broader.

    \b
    Example:
      masfire taxonomy map masfire:tool_selection_error --to trail
    """
    from masfire import taxonomy

    kind = ":".join(_parted(kind))
    relations = taxonomy.related(kind, to=to)
    if form == "json":
        print_json([{"from": kind, "relation": relation, "to": other} for relation, other in relations])
        return
    for relation, other in relations:
        place, _, identity = other.partition(":")
        click.echo(f"{kind}  {_words(relation)}  {other}  {taxonomy.kinds(place).entry(identity).definition}")
    if not relations:
        click.echo(f"{kind} is mapped to nothing{' in ' + to if to else ''}.")


def _words(relation: str) -> str:
    return {"equal": "equals", "narrower": "is narrower than", "broader": "is broader than"}.get(
        relation, relation
    )


def _parted(kind: str) -> tuple[str, str]:
    """Return taxonomy and id of a kind; one that only a single taxonomy has needs no taxonomy's name."""
    from masfire import taxonomy
    from masfire.errors import UsageError

    if kind in taxonomy.names():
        raise UsageError(
            f"{kind!r} is a taxonomy, no kind of error.", hint=f"List its kinds: masfire taxonomy list {kind}"
        )
    place, colon, identity = kind.partition(":")
    if colon:
        return place, taxonomy.kinds(place).entry(identity).id
    words: dict[str, list[str]] = {}
    for owner in taxonomy.names():
        for one in taxonomy.kinds(owner).entries:
            for word in {one.id.casefold(), one.name.casefold()}:
                words.setdefault(word, []).append(f"{owner}:{one.id}")
    found = words.get(kind.casefold(), [])
    if len(found) > 1:
        raise UsageError(
            f"Several taxonomies know {kind!r}.", hint=f"Say which is meant: {' or '.join(found)}."
        )
    if not found:
        near = difflib.get_close_matches(kind.casefold(), words, n=1, cutoff=0.6)
        did = f"Did you mean {' or '.join(words[near[0]])}? " if near else ""
        raise UsageError(
            f"No taxonomy knows a kind of error {kind!r}.",
            hint=f"{did}List them: masfire taxonomy list {'|'.join(taxonomy.names())}",
        )
    place, _, identity = found[0].partition(":")
    return place, identity


def _summary(found: Any) -> dict[str, Any]:
    return {
        "name": found.name, "title": found.title, "source": found.source, "entries": len(found.entries),
    }  # fmt: skip


def _builtins(value: Any) -> Any:
    import msgspec

    return msgspec.to_builtins(value)
