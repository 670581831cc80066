#!/usr/bin/env bash
# The tests of the native engine under a sanitizer.
#
#     tests/sanitize.sh address,undefined [arguments of pytest]
#     tests/sanitize.sh thread            [arguments of pytest]
#
# Without arguments: the engine's own tests, or for `thread` those of its pool. Needs cmake, ninja,
# pybind11 and the test extra in the current environment; builds in a folder of its own, with what
# CMAKE_ARGS says (-DBABYGRAD_AVX2=OFF halves the time).
set -euo pipefail
cd "$(dirname "$0")/.."

kind=${1:-address,undefined}
shift || true
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT

cmake -G Ninja -S . -B "$build/cmake" -DBABYGRAD_SANITIZE="$kind" -DCMAKE_BUILD_TYPE=Release \
    -DPython_EXECUTABLE="$(command -v python)" ${CMAKE_ARGS:-} >"$build/log"
cmake --build "$build/cmake" >>"$build/log" || { tail -40 "$build/log"; exit 1; }
cp -r babygrad "$build/babygrad"
cp "$build"/cmake/_core*.so "$build/babygrad/"

run=()
case $kind in
thread)
    runtime=libtsan.so
    tests=(tests/test_native_threads.py)
    # Its memory map does not go together with a randomized one.
    if setarch -R true 2>/dev/null; then run=(setarch -R); fi
    # numpy's BLAS is not instrumented: its threads' accesses to arrays look like races.
    export OPENBLAS_NUM_THREADS=1
    ;;
*)
    runtime=libasan.so
    tests=(tests/test_native_*.py)
    ;;
esac
if [ $# -eq 0 ]; then set -- "${tests[@]}"; fi

# Python itself is not instrumented: the runtime has to be loaded first, with the C++ library whose
# exceptions it wraps, and what the interpreter never frees at exit is not a leak of the engine.
# -P, for the package in this folder has no engine; pytest must leave the file descriptors alone, or
# the report of an abort would be lost.
export PYTHONPATH=$build BABYGRAD_REQUIRE_CPP=1
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1
export UBSAN_OPTIONS=print_stacktrace=1 TSAN_OPTIONS=die_after_fork=0
find_library() { "${CXX:-c++}" -print-file-name="$1"; }
export LD_PRELOAD
LD_PRELOAD="$(find_library $runtime) $(find_library libstdc++.so)"
python -P -c "from babygrad import _core; assert _core.__file__.startswith('$build/')"
"${run[@]}" python -P -m pytest -q -p no:cacheprovider --capture=sys "$@"
