"""Where the runs of a campaign are executed."""
