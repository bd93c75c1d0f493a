#!/usr/bin/env bash
# Packs what scripts/gpu_check.sh needs on a machine with a GPU and no network, into build/gpu (ignored by git)
# or $GPU_PACK: wheels of what it lacks, kernels compiled for its GPU and its processor, MNIST; under 60 MiB.
#
#   scripts/gpu_pack.sh [--python 3.12] [--arch sm_90] [--nvrtc 13.0] [--mnist FOLDER]
#
# Kernels are looked up by the version of the compiler library NVRTC that the machine has, so they are compiled
# by that version; --nvrtc here takes the one that is installed here.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3} packed=$(realpath -m "${GPU_PACK:-build/gpu}")
version=3.12 arch=sm_90 nvrtc=13.0 mnist=
while [ $# -gt 0 ]; do
    case $1 in
    --python) version=$2 ;;
    --arch) arch=$2 ;;
    --nvrtc) nvrtc=$2 ;;
    --mnist) mnist=$2 ;;
    *)
        sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
        exit 2
        ;;
    esac
    shift 2
done
rm -rf "$packed"/{wheels,cache,packed.json,liblinftui_cpu.so}
mkdir -p "$packed/wheels" "$packed/cache"
chmod -R go-w "$packed"

# What a machine with torch, its CUDA packages, scikit-learn, Typer, Rich and pytest lacks of ours.
platforms=(--platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64)
"$python" -m pip download --quiet --no-deps --only-binary :all: --python-version "$version" --implementation cp \
    "${platforms[@]}" --dest "$packed/wheels" \
    msgspec 'textual>=8,<9' pooch platformdirs mdit-py-plugins linkify-it-py uc-micro-py

library=()
if [ "$nvrtc" != here ]; then
    "$python" -m pip install --quiet --no-deps --target build/nvrtc-"$nvrtc" --upgrade "nvidia-cuda-nvrtc==$nvrtc.*"
    library=(--nvrtc "$(find build/nvrtc-"$nvrtc" -name 'libnvrtc.so.13')")
fi
LINFTUI_CACHE="$packed/cache" "$python" scripts/gpu/compile_ahead.py --arch "$arch" "${library[@]}"

cp "$("$python" -c 'from linftui.ops.cpu.library import load_library; print(load_library()[0]._name)')" "$packed/"
if [ -n "$mnist" ]; then
    mkdir -p "$packed/cache/mnist"
    cp "$mnist"/*-ubyte.gz "$packed/cache/mnist/"
fi
size=$(du -sm "$packed" | cut -f 1)
echo "$packed: $size MiB; take it along"
[ "$size" -lt 60 ]
