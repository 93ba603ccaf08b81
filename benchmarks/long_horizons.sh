#!/usr/bin/env bash
# The tables of docs/long-horizons.md, on one thread. DLinear needs the extra neuralforecast.
#     benchmarks/long_horizons.sh ETTh1.csv exchange_rate.csv Hourly-train.csv
set -euo pipefail
etth1=$1 exchange=$2 m4=$3
cd "$(dirname "$0")/.."

# ETTh1: five seeds at 96 steps, one at the others.
ett() { python -m benchmarks.protocols "$etth1" --protocol ltsf --set window=720 --set batch_size=512 --set epochs=3 "$@"; }
ett --horizons 96 --seeds 5 --models hqkan-periods,sparse
ett --horizons 192,336,720 --seeds 1 --models hqkan-periods,sparse
ett --horizons 96,192,336,720 --seeds 1 --models linear,cycle --baselines dlinear --trials 1

# M4 Hourly: a window of 504 hours, no phases and the learning rate are the defaults of the protocol.
python -m benchmarks.protocols "$m4" --protocol m4 --models hqkan-periods --set hidden_size=8 --set latent_features=4
python -m benchmarks.protocols "$m4" --protocol m4 --models sparse,qkan-periods

# Exchange rates: the gate closes.
python -m benchmarks.protocols "$exchange" --protocol ltsf --horizons 96 --models linear --set window=96 --set epochs=5
