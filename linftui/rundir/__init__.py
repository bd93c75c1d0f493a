"""The run directory: the only channel between what trains and what watches.

Everything a viewer knows about a run it reads from here; everything a person tells a run goes here as a
control file. `paths` names the files, `records` says what is in them, `writer` and `reader` append and
follow them, `liveness` and `state` derive what a run is doing from evidence, `store` is a folder of runs.
Nothing here imports torch or anything that draws.
"""
