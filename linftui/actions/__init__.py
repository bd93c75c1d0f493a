"""What a user can do: train, resume, stop, certify, remove, list recipes, see why a command is refused.

The command line and the dashboard both call these functions, so both give the same refusals and warnings in
the same words. An action has three parts: a request, a check that refuses at once what would fail later, and
the work itself, which may block, so the dashboard calls it in a thread. Nothing here imports torch or needs a
terminal.
"""
