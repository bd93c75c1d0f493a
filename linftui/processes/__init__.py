"""What a process and its starter must agree on: one file for each agreement, with both of its sides.

`members`: processes announce themselves, and are looked up. `signalling`: a signal reaches exactly the
process that is meant. `life_pipe`: a worker notices that its starter is gone. `reports`: a worker reports to
its starter how its work goes. `answer`: a supervisor reports to its starter how the start went. `detaching`:
a process leaves its parent, and its parent's terminal.

A process's identity, and whether it is alive, are derived from records, as a run's state is:
`rundir.liveness`.
"""
