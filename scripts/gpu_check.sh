#!/usr/bin/env bash
# Everything about the CUDA kernels that needs a GPU, in one call: scripts/gpu/check.py, with what
# scripts/gpu_pack.sh has packed into build/gpu, or $GPU_PACK, for a machine without a network.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3} packed=$(realpath -m "${GPU_PACK:-build/gpu}")
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1

case " $* " in
*" --rehearse "*) ;; # with this machine's own packages: the wheels are for another Python
*)
    site=$(mktemp -d)
    trap 'rm -rf "$site"' EXIT
    if compgen -G "$packed/wheels/*.whl" > /dev/null; then
        "$python" -m pip install --quiet --no-index --no-deps --target "$site" "$packed"/wheels/*.whl
        PYTHONPATH="$PYTHONPATH:$site"
    fi
    if [ ! -e linftui/ops/cpu/liblinftui_cpu.so ] && [ -e "$packed/liblinftui_cpu.so" ]; then
        cp "$packed/liblinftui_cpu.so" linftui/ops/cpu/
    fi
    ;;
esac
if [ -d "$packed/cache" ]; then
    chmod -R go-w "$packed/cache" # compiled kernels are programs: nobody else may write there
    export LINFTUI_CACHE="$packed/cache"
fi
"$python" scripts/gpu/check.py "$@"
