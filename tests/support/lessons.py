"""Schemata and notes for tests, made by hand."""

from __future__ import annotations

from masfire.knowledge.model import ErrorSchema, MistakeNote, Signature, Source, Subject, note_id, schema_id


def schema(fault, traits, *, text="", role="reader", origin="campaign-a", run="r1", **more):
    signature = Signature(tuple(sorted(traits)), text)
    return ErrorSchema(
        id=schema_id(signature, fault=fault, role=role),
        signature=signature,
        fault=fault,
        role=role,
        evidence=(Source(run, 3, role, origin),),
        **more,
    )


def note(fault="hallucination", *, role="reader", about="", origin="campaign-a", **more):
    subject = Subject(fault, role, about)
    texts = {
        "mistake": "A number was stated that nothing in the input states.",
        "approach": "State only numbers that the input states.",
        "strategy": "Ask yourself: Does it state a number that nothing in its input states?",
        "anti_patterns": "Does not apply where the input states the value.",
        **{key: more.pop(key) for key in ("mistake", "approach", "strategy", "anti_patterns") if key in more},
    }
    return MistakeNote(
        id=note_id(subject, tuple(texts.values())),
        subject=subject,
        evidence=(Source("r1", 3, role, origin),),
        **texts,
        **more,
    )
