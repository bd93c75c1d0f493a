#!/usr/bin/env bash
# Everything about the CUDA kernels that needs a GPU, in one command of under 10 minutes: the tests, the
# sanitizers, limits and benchmarks, a profile of each kernel; a short table last.
#
# Needs Python with torch for CUDA, cuda-core, jaxtyping, platformdirs and pytest; compute-sanitizer and ncu where
# they are installed. Without a network: put missing packages as wheels into wheels/ (ignored by git), for example
#   pip download --no-deps -d wheels platformdirs
# Full logs go to the folder in $OUT, or build/gpu-check.
set -uo pipefail
cd "$(dirname "$0")/.."
logs=${OUT:-build/gpu-check}
mkdir -p "$logs"
python=${PYTHON:-python3}

if compgen -G 'wheels/*.whl' > /dev/null; then
    site=$(mktemp -d)
    trap 'rm -rf "$site"' EXIT
    "$python" -m pip install --quiet --no-index --no-deps --target "$site" wheels/*.whl || exit 1
    export PYTHONPATH="$site${PYTHONPATH:+:$PYTHONPATH}"
fi
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1

summary=()
failed=0
# step NAME SECONDS COMMAND...: runs it with a limit, keeps its output, remembers how it went.
step() {
    local name=$1 limit=$2 start=$SECONDS state=ok
    shift 2
    timeout "$limit" "$@" > "$logs/$name.log" 2>&1 || { state="FAILED ($?)"; failed=1; }
    summary+=("$(printf '%-12s %-13s %4d s  %s' "$name" "$state" $((SECONDS - start)) "$(tail -n 1 "$logs/$name.log")")")
}
# The same where a tool may be missing.
step_with() {
    local tool=$1 name=$2
    shift
    if command -v "$tool" > /dev/null; then step "$@"; else summary+=("$name: no $tool here"); fi
}

step device 60 "$python" -c '
import torch, cuda.core
from linftui.ops.cuda.compiler import nvrtc_version
print(torch.cuda.get_device_name(), "torch", torch.__version__, "cuda-core", cuda.core.__version__, "NVRTC", nvrtc_version())'
if [ "$failed" = 1 ]; then
    cat "$logs/device.log"
    exit 1
fi
# The project's own settings ask for test packages that such a machine need not have.
step tests 200 "$python" -m pytest -c /dev/null --rootdir . -q -W ignore tests/ops/cuda/test_gpu.py
for tool in memcheck racecheck initcheck; do
    step_with compute-sanitizer "$tool" 60 \
        compute-sanitizer --tool "$tool" --error-exitcode 1 "$python" scripts/gpu_sample.py
done
step bench 150 "$python" -m linftui.bench.cuda_ops
metrics=gpu__time_duration.sum,smsp__issue_active.avg.pct_of_peak_sustained_active
metrics+=,smsp__inst_executed.sum,sm__warps_active.avg.pct_of_peak_sustained_active
metrics+=,l1tex__data_bank_conflicts_pipe_lsu_mem_shared.sum,smsp__inst_executed_pipe_xu.sum
step_with ncu profile 60 ncu --metrics "$metrics" --csv --clock-control none \
    --kernel-name 'regex:fold_maxima|sum_powers|scan|gradient|finish|pack|scatter' \
    "$python" scripts/gpu_sample.py --large

cat "$logs/bench.log"
printf '%s\n' "${summary[@]}"
exit "$failed"
