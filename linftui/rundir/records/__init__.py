"""What the files of a run directory hold: typed records, each with its format's version `v`.

JSON has no infinities, so a non-finite number is written as a string ("inf", "-inf", "nan"), and so is an
integer beyond 2^53, such as a long seed, which many JSON readers would round; decoding turns both back. A
reader accepts older versions, ignores fields it does not know, and rejects a record of a newer version.

A new field has a default: the meaning of its absence in older records. The version grows when an older reader
would misread new records. Version 2: figures of a training record that only some objectives have may be
missing, and a certification has a request.
"""

from linftui.rundir.records.certificate import (
    CertificateSummary,
    CertifyRequest,
    CertifyTask,
    ClassCount,
    SampleRecord,
)
from linftui.rundir.records.codec import (
    VERSION,
    Count,
    Int,
    Means,
    Record,
    Seed,
    Share,
    decoder,
    encode,
    jsonable,
)
from linftui.rundir.records.process import (
    STOP_DEADLINE_S,
    DeviceRecord,
    ErrorRecord,
    ExitRecord,
    Gpu,
    GpuProcess,
    HostRecord,
    MemberRecord,
    ProcessRecord,
    RankReport,
    StartRecord,
    StateRecord,
    StopRequest,
)
from linftui.rundir.records.training import (
    BestRecord,
    EvalRecord,
    EventName,
    EventRecord,
    MetaRecord,
    Metric,
    TrainerRecord,
    TrainRecord,
    WindowSums,
)

__all__ = [
    "BestRecord", "CertificateSummary", "CertifyRequest", "CertifyTask", "ClassCount", "Count",
    "DeviceRecord", "ErrorRecord", "EvalRecord", "EventName", "EventRecord", "ExitRecord", "Gpu",
    "GpuProcess", "HostRecord", "Int", "Means", "MemberRecord", "MetaRecord", "Metric", "ProcessRecord",
    "RankReport", "Record", "STOP_DEADLINE_S", "SampleRecord", "Seed", "Share", "StartRecord",
    "StateRecord", "StopRequest", "TrainRecord", "TrainerRecord", "VERSION", "WindowSums", "decoder",
    "encode", "jsonable",
]  # fmt: skip
