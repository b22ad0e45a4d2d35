"""The smallest plan there is."""

GOOD = """\
masfire: plan/v1
systems:
  - name: one
    system: pkg.mod:build
    run: pkg.mod:run
    check: pkg.mod:check
tasks: tasks.jsonl
"""
