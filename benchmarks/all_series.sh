#!/usr/bin/env bash
# The comparisons of docs/results/index.md and docs/how/qlstm.md. An interrupted one continues where it stopped.
set -euo pipefail
cd "$(dirname "$0")/.."

compare() { # folder below docs/results, series, options
    local folder=$1 series=$2
    shift 2
    qkan compare lstm --data "$series" --workers 1 "$@" --out "docs/results/$folder"
}

# What stands around a cell today. Telecom's level is that with the lower validation error of seed 0; the training part chooses the others.
telecom=(--seeds 5 --trials 2 --level none --batch-size 512 --epochs 40 --reps 2)
compare telecom telecom "${telecom[@]}" --latent-features 3 --season-terms 4 --budget-params 200,400 --baselines lightgbm
compare telecom-100 telecom "${telecom[@]}" --season-terms 3 --budget-params 100
compare telecom-day telecom --horizon 169 --metric mae --cells hqkan,lowrank,lstm --reps 2 --latent-features 3 --budget-params 2500 --trials 2 --seeds 3 --epochs 4 --baselines lightgbm
# Every other series, 15 epochs and the finish that small models have: circuits, what a circuit is without its constraint, a spline in its place, and cells without any.
other() {
    local series=$1
    shift
    compare "$series" "$series" --seeds 3 --trials 2 --epochs 15 --reps 2 --window 4 --budget-params 250 \
        --cells qkan,hqkan,lowrank,spline,fourier,lstm,gru --baselines lightgbm "$@"
}
other damped-shm
other bessel-j2
other logistic-map --level none --window 2 --reps 4 --preact-trainable --budget-params 140
other henon-map --level none
ten_seeds() { compare "$1-ten-seeds" "$@" --seeds 10 --trials 2 --epochs 15; }
ten_seeds henon-map --level none --reps 2 --window 4 --budget-params 250 --cells qkan,lowrank,spline,lstm,gru
ten_seeds duffing --reps 2 --window 4 --budget-params 250 --cells qkan,lowrank,spline,lstm,gru
ten_seeds logistic-map --level none --window 2 --reps 4 --preact-trainable --preact-init binary --budget-params 140 \
    --cells qkan,hqkan,lowrank,spline,fourier,lstm,gru
for series in duffing narma-5 narma-10 delayed-quantum-control jaynes-cummings driven-transmon mackey-glass lorenz; do
    other "$series"
done

bare() { compare "$@" --window 4 --level none --skip 0 --season none --decoder last --lbfgs-steps 0; }
# The published 34-parameter QKAN-LSTM: a circuit per edge, hidden size 1, one repetition, no gate bias.
for series in damped-shm bessel-j2; do
    bare "published-$series" "$series" --seeds 5 --cells qkan --group edge --no-bias --budget-params 35
done
# One circuit per input, the default, and a circuit per edge.
for series in damped-shm bessel-j2 duffing; do
    bare "bare-$series" "$series" --seeds 5 --budget-params 50,125,375,1250
done
for series in duffing bessel-j2; do
    bare "per-edge-$series" "$series" --seeds 5 --cells qkan --group edge --budget-params 50,125,375
done
# The published four-way comparison, and the ablation of HQKAN-LSTM's circuit. 66 parameters are the smallest QLSTM.
for series in damped-shm bessel-j2; do
    bare "four-way-$series" "$series" --seeds 3 --cells lstm,qlstm,qkan,hqkan,lowrank --group edge \
        --budget-params 70,125,375,1250
done
