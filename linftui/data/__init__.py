"""The data sets: where they come from, what they hold, and in which order training sees them.

Importing this package imports nothing heavy, so that commands that only check files (`doctor`) stay quick:
`download` knows the files, `datasets` turns them into tensors, `loader` samples and augments.
"""
