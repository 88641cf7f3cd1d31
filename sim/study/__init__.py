"""Studies: many runs of a scenario with some of its keys changed."""
