"""Which processes work on a run, on which devices, and how they start and end."""

from typing import Literal

from msgspec import Struct

from linftui.rundir.records.codec import Int, Record

STOP_DEADLINE_S = 120.0  # how long a stop may take, unless the request says otherwise


class HostRecord(Struct, frozen=True, kw_only=True):
    """Where process ids mean something: a machine, since its boot, within a process namespace."""

    name: str
    boot_id: str
    pid_namespace: str
    machine: str = ""  # its id, which survives a reboot


class ProcessRecord(Struct, frozen=True, kw_only=True):
    """A process, described so that a later one with the same pid is not mistaken for it."""

    role: str  # "supervisor", "rank-0", ...
    pid: Int
    start_time: Int  # the kernel's, in ticks since boot
    uid: Int


class StateRecord(Record, frozen=True, kw_only=True):
    """Who runs this run now (state.json, written by the supervisor)."""

    attempt: Int
    phase: Literal["pending", "starting", "running"]  # "running" from the first step on
    host: HostRecord  # the supervisor's
    members: list[ProcessRecord]
    devices: list[str]
    threads: Int
    time: float
    nonce: str = ""  # unique to this attempt: a later run of the same name has another
    folder: str = ""  # `liveness.folder_identity` of the run directory: a copy of it has another
    hosts: dict[str, HostRecord] = {}  # of members on another host than the supervisor, by role

    def host_of(self, member: ProcessRecord) -> HostRecord:
        """Where a member runs."""
        return self.hosts.get(member.role, self.host)


class MemberRecord(Record, frozen=True, kw_only=True):
    """Which process works on something, and where (member-<rank>.json, a certification's worker.json)."""

    host: HostRecord
    process: ProcessRecord
    folder: str = ""  # as in StateRecord


class StartRecord(Record, frozen=True, kw_only=True):
    """A supervisor's answer to the process that started it: its attempt, or why there is none."""

    attempt: Int | None = None
    message: str = ""
    hint: str = ""
    exit_code: Int = 0


class ExitRecord(Record, frozen=True, kw_only=True):
    """How an attempt ended (exit.json, written by the supervisor)."""

    attempt: Int
    outcome: Literal["finished", "stopped", "failed", "crashed"]
    code: Int  # the worker's exit code; negative: the signal that ended it
    time: float
    message: str = ""
    hint: str = ""


class ErrorRecord(Record, frozen=True, kw_only=True):
    """Why a rank failed, as it reports itself (error-<rank>.json)."""

    error: str  # class name
    message: str
    hint: str
    exit_code: Int
    time: float


class RankReport(Record, frozen=True, kw_only=True):
    """What a rank reports to its supervisor through a pipe: that it is alive, has begun, or why it failed."""

    rank: Int
    begun: bool = False  # its first step is done
    error: ErrorRecord | None = None


class GpuProcess(Struct, frozen=True, kw_only=True):
    """A process that holds GPU memory; the driver's pids may belong to another namespace than ours."""

    pid: Int
    memory: Int | None  # bytes


class Gpu(Struct, frozen=True, kw_only=True):
    """A GPU at one moment, in PCI order, which is the order of `--devices 0,3`. None: not reported."""

    index: Int
    uuid: str
    name: str
    memory_total: Int | None = None  # bytes
    memory_used: Int | None = None
    utilisation: float | None = None  # share of the time that a kernel ran, in [0, 1]
    power: float | None = None  # watts
    power_limit: float | None = None
    temperature: float | None = None  # degrees Celsius
    processes: list[GpuProcess] | None = None
    problem: str = ""  # why something is missing; empty where nothing is


class DeviceRecord(Record, frozen=True, kw_only=True):
    """The machine's devices at one moment of an attempt (devices.jsonl, written by the supervisor)."""

    attempt: Int
    time: float
    cpu: float  # share of the usable cores in use since the previous record, in [0, 1]
    memory_used: Int  # bytes, of the whole machine
    memory_total: Int
    run_cpu: float  # cores that the run's own processes used since the previous record
    run_memory: Int  # bytes that they hold
    gpus: list[Gpu]  # the run's own
    gpu_problem: str = ""  # why none are reported


class StopRequest(Record, frozen=True, kw_only=True):
    """A request that an attempt stop (control/stop-<attempt>.json)."""

    attempt: Int
    time: float
    by: str
    deadline_s: float = STOP_DEADLINE_S  # from when this is seen until the attempt is ended, saved or not
