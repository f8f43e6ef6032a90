#!/usr/bin/env bash
# Build, test, sanitize and time the device kernels on a machine with a GPU, with the Python, torch
# and build tools that it has: bash benchmarks/on_gpu.sh OUT writes logs and figures to OUT.
set -uo pipefail
out=$(realpath -m "${1:?name a folder for logs and figures}")
cd "$(dirname "$0")/.."
mkdir -p "$out"
nvidia-smi >"$out/machine" 2>&1

python3 -m pip install -q --no-build-isolation --no-deps --target "$out/site" \
  -Ccmake.define.CLOISTER_CUDA=ON . >"$out/build" 2>&1 || { tail -40 "$out/build"; exit 1; }
export PYTHONPATH="$out/site" PYTHONUNBUFFERED=1

# Other test files need packages that such a machine may lack.
kernels="tests/test_encode.py tests/test_tally.py tests/test_cells.py tests/test_moments_bins.py
  tests/test_gradient.py tests/test_sums_on_borders.py tests/test_nearest.py tests/test_closest.py
  tests/test_screen.py tests/test_sample_mixture.py tests/test_device_kernels.py"
echo "== tests"
timeout 240 python3 -m pytest -q -p no:cacheprovider -m cuda $kernels 2>&1 |
  tee "$out/tests" | tail -15
for tool in memcheck racecheck; do
  echo "== compute-sanitizer $tool"
  timeout 150 compute-sanitizer --tool "$tool" --error-exitcode 9 --target-processes all \
    python3 -m pytest -q -p no:cacheprovider -m cuda tests/test_device_kernels.py \
    2>&1 | tee "$out/$tool" | tail -4
done
echo "== benchmarks"
python3 benchmarks/bench_cuda.py --json "$out/cuda.json" 2>&1 | tee "$out/benchmarks"
rm -rf "$out/site"
