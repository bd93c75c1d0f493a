"""What a process and whoever started it must agree on, each agreement in one file with both of its sides.

`members`: processes say who they are, and are looked up. `signalling`: a signal reaches the process that is
meant and no other. `life_pipe`: a worker notices that its starter is gone. `reports`: a worker tells its
starter how it does. `answer`: a supervisor tells its starter how the start went. `detaching`: a process
leaves its parent, and its parent's terminal.

Who a process is, and whether it lives, is derived from records, as a run's state is: `rundir.liveness`.
"""
