"""Records: what is written is strict JSON on one line, and comes back as it was."""

import contextlib
import inspect
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linftui.rundir import records
from linftui.rundir.records import (
    VERSION,
    BestRecord,
    CertificateSummary,
    CertifyRequest,
    CertifyTask,
    ClassCount,
    DeviceRecord,
    ErrorRecord,
    EvalRecord,
    EventRecord,
    ExitRecord,
    Gpu,
    GpuProcess,
    HostRecord,
    MemberRecord,
    MetaRecord,
    Metric,
    ProcessRecord,
    RankReport,
    Record,
    SampleRecord,
    StartRecord,
    StateRecord,
    StopRequest,
    TrainerRecord,
    TrainRecord,
    WindowSums,
    decoder,
    encode,
)

EXAMPLES: list[msgspec.Struct] = [
    TrainRecord(
        attempt=1, step=5, epoch=0.4, time=1.5, loss=0.9, accuracy=0.1, certified_at_p=0.05,
        certified_at_p_train_eps=0.0, p=8.0, lam=0.1, eps=0.3, lr=0.03, scalar=1.0, images_per_s=1e4,
    ),
    EvalRecord(
        attempt=1, step=12, epoch=1.0, time=1.5, split="test", n=360, clean_accuracy=0.9,
        certified_accuracy=0.8, eps=0.1, means="re-estimated", seconds=0.01,
    ),
    EventRecord(attempt=2, step=12, time=1.5, event="checkpoint", message="step 12"),
    StateRecord(
        attempt=3, phase="running", host=HostRecord(name="vm", boot_id="b", pid_namespace="pid:[1]"),
        members=[ProcessRecord(role="rank-0", pid=7, start_time=99, uid=0)], devices=["cpu"], threads=2,
        time=1.5,
    ),
    ExitRecord(attempt=1, outcome="crashed", code=-9, time=1.5, message="killed", hint="look at the log"),
    ErrorRecord(error="TrainingError", message="no", hint="", exit_code=1, time=1.5),
    RankReport(rank=1, error=ErrorRecord(error="OSError", message="no", hint="", exit_code=1, time=1.5)),
    StopRequest(attempt=1, time=1.5, by="SIGINT"),
    MemberRecord(
        host=HostRecord(name="vm", boot_id="b", pid_namespace="pid:[1]"),
        process=ProcessRecord(role="rank-1", pid=8, start_time=99, uid=0),
    ),
    StartRecord(message="no", hint="yes", exit_code=2),
    DeviceRecord(
        attempt=1, time=1.5, cpu=0.5, memory_used=1, memory_total=2, run_cpu=1.5, run_memory=1,
        gpus=[Gpu(index=0, uuid="GPU-1", name="H100", power=1.5, processes=[GpuProcess(pid=7, memory=None)])],
    ),
    MetaRecord(
        id="a", created=1.5, recipe="tiny", recipe_source="tiny.yaml", recipe_hash="0f", overrides=["seed=1"],
        argv=["linftui"], seed=0, epochs=3, eps_test="8/255", versions={"torch": "2.11"}, git=None, host="vm",
        devices=["cpu"],
    ),
    TrainerRecord(
        attempt=1, step=12, epoch=1.0, seed=0, steps_per_epoch=12, recipe_hash="0f",
        window=WindowSums(images=128, loss=1.1), best=BestRecord(step=12, certified_accuracy=0.5),
        evaluated=True, sha256={"model.safetensors": "0f"}, time=1.5,
    ),
    SampleRecord(index=0, label=1, prediction=None, certified=False, margin=-0.5, radius=0.1),
    CertifyRequest(eps=["0.1", "8/255"], checkpoint="best", means="re-estimated", limit=50),
    CertifyTask(certificates=["latest-eps-0.1"], drafts=[".latest-eps-0.1.7.draft"], done=0),
    CertificateSummary(
        run="a", checkpoint="latest", step=12, split="test", means="running", complete=True, n=1, total=1,
        eps=0.1, eps_exact="0.1", p=8.0, clean_accuracy=1.0, certified_accuracy=1.0, pgd_accuracy=0.5,
        non_finite=0, per_class=[ClassCount(label=0, n=1, clean=1, certified=1)], curve=[(0.0, 1.0)],
        seconds=0.1, images_per_s=10.0, model_sha256="0f", data_sha256="0f", rounding="outward",
        backend="reference", device="cpu", versions={}, created=1.5,
    ),
]  # fmt: skip

each_record = pytest.mark.parametrize("record", EXAMPLES, ids=lambda record: type(record).__name__)


def strict_json(data: bytes) -> Any:
    """Parses as a parser does that knows no NaN and no Infinity."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    return json.loads(data, parse_constant=refuse)


def with_floats(value: Any, number: float) -> Any:
    """Plain data with every float replaced."""
    if isinstance(value, dict):
        return {key: with_floats(item, number) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [with_floats(item, number) for item in value]
    return number if isinstance(value, float) else value


def test_the_examples_below_cover_every_record() -> None:
    defined = {kind for _, kind in inspect.getmembers(records, inspect.isclass) if issubclass(kind, Record)}
    assert {type(example) for example in EXAMPLES} == defined - {Record} | {SampleRecord}


@each_record
def test_a_record_comes_back_as_it_was(record: msgspec.Struct) -> None:
    assert decoder(type(record))(encode(record)) == record


@each_record
@settings(deadline=None, max_examples=60)
@given(number=st.floats())
def test_every_float_comes_back_exactly_and_the_line_is_strict_json(
    record: msgspec.Struct, number: float
) -> None:
    changed = record
    for name, value in msgspec.to_builtins(record).items():
        with contextlib.suppress(msgspec.ValidationError):  # a share is no number but one in [0, 1]
            plain = {**msgspec.to_builtins(changed), name: with_floats(value, number)}
            changed = msgspec.convert(plain, type(record))
    line = encode(changed)
    strict_json(line)
    assert repr(decoder(type(record))(line)) == repr(changed)  # repr tells -0.0 from 0.0, and NaN equals NaN


def test_a_record_of_a_newer_version_is_left_alone_whatever_else_it_holds() -> None:
    """Its own fields may be others by then: what is wrong with those is not the reason."""
    for strange in ({}, {"loss": "small"}, {"means": 3}, {"loss": [[[]]]}):
        newer = json.dumps({"kind": "train", **strange, "v": VERSION + 1}).encode()
        with pytest.raises(
            msgspec.ValidationError, match=rf"newer linftui \(format {VERSION + 1}, this reads"
        ):
            decoder(Metric)(newer)


def test_figures_that_only_some_objectives_have_may_be_missing() -> None:
    own = {"lam", "scalar", "lr", "images_per_s"}
    plain = {key: value for key, value in strict_json(encode(EXAMPLES[0])).items() if key not in own}
    record = decoder(Metric)(json.dumps(plain).encode())
    assert {getattr(record, name) for name in own} == {None}


def test_a_member_runs_on_its_supervisors_host_unless_it_has_one_of_its_own() -> None:
    state = next(example for example in EXAMPLES if isinstance(example, StateRecord))
    elsewhere = HostRecord(name="node-2", boot_id="c", pid_namespace="pid:[1]")
    ranks = [ProcessRecord(role=f"rank-{n}", pid=7, start_time=99, uid=0) for n in (0, 1)]
    state = msgspec.structs.replace(state, members=ranks, hosts={"rank-1": elsewhere})
    assert [decoder(StateRecord)(encode(state)).host_of(rank) for rank in ranks] == [state.host, elsewhere]


@pytest.mark.parametrize("number", ["inf", "-inf", "nan"])
def test_a_number_that_json_has_not_is_written_as_a_string(number: str) -> None:
    record = msgspec.structs.replace(EXAMPLES[0], p=float(number))
    assert strict_json(encode(record))["p"] == number


@pytest.mark.parametrize("seed", [0, 2**53, 2**53 + 1, 1_764_259_200_123_456_789, 2**63 - 1])
def test_every_seed_of_a_recipe_comes_back_exactly_from_whatever_reads_json(seed: int) -> None:
    for kind in (MetaRecord, TrainerRecord):
        record = msgspec.structs.replace(next(e for e in EXAMPLES if isinstance(e, kind)), seed=seed)
        assert decoder(kind)(encode(record)) == record
        # JavaScript, and jq before 1.7, take every number for a float.
        assert int(json.loads(encode(record), parse_int=lambda digits: int(float(digits)))["seed"]) == seed


def test_a_seed_that_no_recipe_has_is_refused() -> None:
    plain = strict_json(encode(next(e for e in EXAMPLES if isinstance(e, MetaRecord))))
    for seed in (-1, 2**63, str(2**63), "many"):
        with pytest.raises(msgspec.ValidationError):
            decoder(MetaRecord)(json.dumps({**plain, "seed": seed}).encode())


def test_a_meta_json_from_before_threads_were_noted_is_read() -> None:
    plain = strict_json(encode(next(e for e in EXAMPLES if isinstance(e, MetaRecord))))
    plain.pop("threads", None)
    assert decoder(MetaRecord)(json.dumps(plain).encode()).threads is None


@settings(deadline=None)
@given(message=st.text())
def test_a_record_is_one_line_whatever_it_says(message: str) -> None:
    record = EventRecord(attempt=1, step=0, time=0.0, event="warning", message=message)
    assert b"\n" not in encode(record)
    assert decoder(EventRecord)(encode(record)) == record


def test_a_file_name_that_is_not_unicode_does_not_keep_a_record_from_being_written() -> None:
    record = StopRequest(attempt=1, time=0.0, by=b"caf\xe9".decode("utf-8", "surrogateescape"))
    assert strict_json(encode(record))["by"] == "caf?"


@each_record
def test_fields_of_a_later_version_are_ignored(record: msgspec.Struct) -> None:
    line = json.dumps({**strict_json(encode(record)), "from_the_future": {"x": [1, None]}})
    assert decoder(type(record))(line.encode()) == record


@pytest.mark.parametrize(
    "record", [e for e in EXAMPLES if isinstance(e, Record)], ids=lambda r: type(r).__name__
)
def test_a_newer_format_is_refused_and_an_older_one_read(record: Record) -> None:
    plain = strict_json(encode(record))
    assert plain["v"] == VERSION
    with pytest.raises(msgspec.ValidationError, match="newer linftui"):
        decoder(type(record))(json.dumps({**plain, "v": VERSION + 1}).encode())
    older = decoder(type(record))(json.dumps({**plain, "v": VERSION - 1}).encode())
    assert older == msgspec.structs.replace(record, v=VERSION - 1)


def test_an_integer_beyond_all_use_is_refused_and_breaks_nothing_later() -> None:
    plain = strict_json(encode(EXAMPLES[0]))
    for step in (2**53 + 1, -(2**53) - 1, 10**300):
        with pytest.raises(msgspec.DecodeError):
            decoder(Metric)(json.dumps({**plain, "step": step}).encode())


@pytest.mark.parametrize("share", [7.5, -0.1, 1.0000001, "nan", "inf"])
@pytest.mark.parametrize(
    ("record", "field"),
    [
        (record, field)
        for record in EXAMPLES
        for field in getattr(record, "__struct_fields__", ())
        if "accuracy" in field or "certified_at" in field
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_share_that_is_not_between_0_and_1_is_refused(
    record: msgspec.Struct, field: str, share: float | str
) -> None:
    plain = strict_json(encode(record))
    for right in (0, 1, 0.25):
        decoder(type(record))(json.dumps({**plain, field: right}).encode())
    with pytest.raises(msgspec.ValidationError, match=f"Expected `float.*{field}"):
        decoder(type(record))(json.dumps({**plain, field: share}).encode())


def test_metrics_are_told_apart_by_their_kind() -> None:
    decode = decoder(Metric)
    assert [decode(encode(example)) for example in EXAMPLES[:2]] == EXAMPLES[:2]
    with pytest.raises(msgspec.ValidationError):
        decode(b'{"kind": "gossip", "step": 1}')
