"""What the tests of processes share: an empty run directory, and who seems to work for it."""

from support.stand_ins import paths, sleeper  # noqa: F401 - fixtures
