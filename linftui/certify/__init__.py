"""Certification: the conditions of the theorem, the pass over the test set, and the files that it writes."""
