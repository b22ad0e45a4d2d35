"""What masfire has learnt: error schemata, mistake notes, and the stores that keep them."""
