"""The data sets: where they come from, what they hold, and in which order training sees them.

Importing this package imports nothing heavy, so that commands that only look (`doctor`) stay quick:
`download` knows files, `datasets` makes tensors of them, `loader` samples and augments.
"""
