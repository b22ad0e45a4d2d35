"""Where frameworks meet masfire: each file turns one framework's objects into steps and back."""
