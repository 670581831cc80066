#!/usr/bin/env bash
# The tests of the native engine under a sanitizer: tests/sanitize.sh address,undefined | thread
# Needs the build tools and the test extra in the current environment; builds in a folder of its own.
set -euo pipefail
cd "$(dirname "$0")/.."

kind=${1:-address,undefined}
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT

cmake -G Ninja -S . -B "$build/cmake" -DBABYGRAD_SANITIZE="$kind" -DCMAKE_BUILD_TYPE=Release \
    -DPython_EXECUTABLE="$(command -v python)" >"$build/log"
cmake --build "$build/cmake" >>"$build/log" || { tail -40 "$build/log"; exit 1; }
cp -r babygrad "$build/babygrad"
cp "$build"/cmake/_core*.so "$build/babygrad/"

case $kind in
thread) runtime=libtsan.so tests=(tests/test_native_runtime.py) ;;
*) runtime=libasan.so tests=(tests/test_native_*.py) ;;
esac
# Python itself is not instrumented: the runtime has to be loaded first, and what the interpreter
# never frees at exit is not a leak of the engine.
export LD_PRELOAD ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1
LD_PRELOAD=$(gcc -print-file-name=$runtime)
PYTHONPATH=$build python -m pytest -q -p no:cacheprovider "${tests[@]}"
