"""Starting, watching and ending the processes of a run. Nothing here imports torch or the worker itself."""
