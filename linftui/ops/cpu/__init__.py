"""The distance core on CPUs: C++ kernels with the vector instructions of this processor.

`kernels` has the functions of `linftui.ops.reference` for float32 tensors on a CPU, `library` finds and loads
the library compiled at installation, `powers` decides how a power is computed. The C++ itself is in `src`.
"""
