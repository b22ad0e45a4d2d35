"""How what was said spreads: genealogy graphs, cascade measures, and the model of propagation."""
