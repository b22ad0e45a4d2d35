"""The pytest plugin: one fixture, one marker, a red test that names its fault."""
