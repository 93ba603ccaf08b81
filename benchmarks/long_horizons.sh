#!/usr/bin/env bash
# The tables of docs/long-horizons.md, and telecom a day ahead in docs/results.md. DLinear, MSTL and AutoARIMA need the extras
# neuralforecast and baselines. On one thread: half an hour for ETTh1, five minutes for M4, ten for telecom.
#     benchmarks/long_horizons.sh ETTh1.csv exchange_rate.csv Hourly-train.csv
set -euo pipefail
etth1=$1 exchange=$2 m4=$3
cd "$(dirname "$0")/.."

# ETTh1: five seeds at 96 steps, one at the others.
ett() { python -m benchmarks.protocols "$etth1" --protocol ltsf --set window=720 --set batch_size=512 --set epochs=3 "$@"; }
ett --horizons 96 --seeds 5 --models hqkan-periods,sparse
ett --horizons 192,336,720 --seeds 1 --models hqkan-periods,sparse
ett --horizons 96,192,336,720 --seeds 1 --models linear,cycle --baselines dlinear --trials 1
