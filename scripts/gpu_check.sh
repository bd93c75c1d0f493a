#!/usr/bin/env bash
# Everything about the CUDA kernels that needs a GPU, in one command of under 10 minutes: the tests, limits and
# benchmarks, a run that trains and is certified, the sanitizers, a profile of each kernel; a short table last.
#
# Needs Python with torch for CUDA, cuda-core, pytest and what linftui itself imports; compute-sanitizer and ncu
# where they are installed. Without a network: put missing packages as wheels into wheels/ (ignored by git), e.g.
#   pip download --no-deps --only-binary :all: --python-version 3.12 -d wheels \
#       msgspec pyyaml platformdirs jaxtyping wadler-lindig pooch typer annotated-doc shellingham rich \
#       markdown-it-py mdurl pygments psutil nvidia-ml-py
# Full logs, and bench.json, go to the folder in $OUT, or build/gpu-check.
set -uo pipefail
cd "$(dirname "$0")/.."
logs=${OUT:-build/gpu-check}
mkdir -p "$logs"
logs=$(realpath "$logs")
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
say() {
    printf '%s\n' "$1"
    summary+=("$1")
}
# step NAME SECONDS COMMAND...: runs it with a limit, keeps its output, tells how it went. A silent one failed.
step() {
    local name=$1 limit=$2 start=$SECONDS state=ok log=$logs/$1.log
    shift 2
    timeout -k 5 "$limit" "$@" > "$log" 2>&1 || state="FAILED ($?)"
    [ -s "$log" ] || state="FAILED (silent)"
    [ "$state" = ok ] || failed=1
    say "$(printf '%-10s %-15s %4d s  %s' "$name" "$state" $((SECONDS - start)) "$(tail -n 1 "$log" | cut -c 1-100)")"
}
# The same with a tool that may be missing, or not allowed to look: what it says is worth having, no more.
tool_step() {
    local tool=$1 before=$failed
    shift
    if command -v "$tool" > /dev/null; then step "$@"; else say "$(printf '%-10s no %s here' "$1" "$tool")"; fi
    [ "$tool" = ncu ] && failed=$before
}

step device 40 "$python" -c '
import torch, cuda.core
from linftui.ops import backend_name
print(torch.cuda.get_device_name(), backend_name("cuda"), "torch", torch.__version__, "cuda-core", cuda.core.__version__)'
if [ "$failed" = 1 ]; then
    cat "$logs/device.log"
    exit 1
fi
# The project's own settings ask for test packages that such a machine need not have.
step tests 150 "$python" -m pytest -c /dev/null --rootdir . -p no:cacheprovider -q tests/ops/cuda/test_gpu.py
bench() {
    "$python" -m linftui bench ops --device cuda --json > "$logs/bench.json" && "$python" -c '
import json, sys
from linftui.bench.cuda_ops import Row, table
found = json.load(open(sys.argv[1]))
print(found["machine"], table([Row(**row) for row in found["rows"]]), sep="\n")' "$logs/bench.json"
}
train() {
    "$python" -m linftui run recipes/digits.yaml --devices gpu:1 --no-tui --runs-dir "$logs/runs" --set epochs=100 \
        --set p.begin_epoch=10 --set p.end_epoch=90 &&
        "$python" -m linftui certify latest --devices gpu:1 --runs-dir "$logs/runs" &&
        tail -n 1 "$logs"/runs/*/devices.jsonl
}
export -f bench train
export python logs
step bench 120 bash -c bench
step train 75 bash -c train
# Without torch's cache of memory every array is an allocation of its own, whose ends are watched.
export PYTORCH_NO_CUDA_MEMORY_CACHING=1
for tool in memcheck racecheck initcheck; do
    tool_step compute-sanitizer "$tool" 40 \
        compute-sanitizer --tool "$tool" --error-exitcode 1 "$python" scripts/gpu_sample.py
done
unset PYTORCH_NO_CUDA_MEMORY_CACHING
metrics=gpu__time_duration.sum,smsp__issue_active.avg.pct_of_peak_sustained_active
metrics+=,smsp__inst_executed.sum,sm__warps_active.avg.pct_of_peak_sustained_active
metrics+=,l1tex__data_bank_conflicts_pipe_lsu_mem_shared.sum,smsp__inst_executed_pipe_xu.sum
tool_step ncu profile 45 ncu --metrics "$metrics" --csv --clock-control none \
    --kernel-name 'regex:fold_maxima|argmax_slabs|sum_powers|scan|gradient|finish|pack|scatter' \
    "$python" scripts/gpu_sample.py --large

cat "$logs/bench.log"
printf '%s\n' "${summary[@]}"
exit "$failed"
