#!/usr/bin/env bash
# The tables of docs/results/long-horizons.md, on one thread: ETTh1 a quarter of an hour, the others five minutes each.
#     benchmarks/long_horizons.sh ETTh1.csv [exchange_rate.csv [Hourly-train.csv]]
set -euo pipefail
etth1=$1 exchange=${2:-} m4=${3:-}
cd "$(dirname "$0")/.."

# ETTh1: five seeds at 96 steps, three at 192, two beyond; of the linear map three up to 192 steps; else one.
ett() { python -m benchmarks.protocols "$etth1" --protocol ltsf "$@"; }
short() { ett --set window=720 --set batch_size=512 --set epochs=3 "$@"; }
short --horizons 96 --seeds 5 --models hqkan-periods,sparse
short --horizons 192 --seeds 3 --models hqkan-periods,sparse
short --horizons 336,720 --seeds 2 --models hqkan-periods,sparse
short --horizons 96,192 --seeds 3 --models linear
short --horizons 336,720 --seeds 1 --models linear
# CycleNet with the cycle, the learning rate and the batches of its authors; DLinear as its authors train it.
ett --horizons 96,192,336,720 --seeds 1 --models cycle --set window=720 --set season=[24] --set lr=0.005 --set batch_size=256 --set epochs=6
ett --horizons 96,192,336,720 --seeds 1 --models dlinear

# Exchange rates: the gate closes.
[ -z "$exchange" ] || python -m benchmarks.protocols "$exchange" --protocol ltsf --horizons 96 --models linear --set window=96 --set epochs=5

# M4 Hourly: a window of 504 hours, no phases and the learning rate are the defaults of the protocol.
[ -z "$m4" ] || python -m benchmarks.protocols "$m4" --protocol m4 --models hqkan-periods --set hidden_size=8 --set latent_features=4
[ -z "$m4" ] || python -m benchmarks.protocols "$m4" --protocol m4 --models sparse,qkan-periods
