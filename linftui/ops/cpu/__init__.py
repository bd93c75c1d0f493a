"""The distance core on CPUs: C++ kernels with the vectors of the processor at hand.

`kernels` has the functions of `linftui.ops.reference` for float32 tensors on a CPU, `library` finds and loads
what was compiled at installation, `power` decides how a power is computed. The C++ itself is in `src`.
"""
