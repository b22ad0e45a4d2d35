"""What all tests share: Hypothesis does not judge how fast the machine is."""

from hypothesis import settings

settings.register_profile("masfire", deadline=None, print_blob=True)
settings.load_profile("masfire")
