"""Who caused a failure, at which step, and what kind of error it was."""
