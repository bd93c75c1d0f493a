"""The command line: a module a command family, rendering apart from doing, heavy imports inside commands."""
