"""What a person can ask: train, resume, stop, certify, remove, which recipes there are, and why not.

The command line and the dashboard ask through these functions and so get the same refusals, warnings and
sentences; they only ask and show. An action is a request, a check that refuses at once what would fail later,
and the deed, which may block: the dashboard calls it in a thread. Nothing here imports torch or a terminal.
"""
