"""What was learnt from failures put to use: three ways, each a few lines."""
