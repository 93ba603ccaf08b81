#!/usr/bin/env bash
# Every comparison of docs/results.md and docs/qlstm.md, a bit more than an hour on two cores. An interrupted one continues where it stopped.
# They compare bare cells, a recurrent cell and a linear head, at budgets that the smallest of them fit.
set -euo pipefail
cd "$(dirname "$0")/.."

compare() { # folder below docs/results, series, options
    local folder=$1 series=$2
    shift 2
    qkan compare lstm --data "$series" --seeds 5 --level none --skip 0 --season none --decoder last \
        --budget-params 50,125,375,1250 "$@" --out "docs/results/$folder"
}

compare telecom telecom
compare damped-shm damped-shm --window 4
compare bessel-j2 bessel-j2 --window 4
compare logistic-map logistic-map --window 2 --reps 4 --preact-trainable --budget-params 50,140,500 --tuning-seeds 3
compare henon-map henon-map --window 4
compare duffing duffing --window 4
compare narma-5 narma-5 --window 4
compare narma-10 narma-10 --window 4
compare delayed-quantum-control delayed-quantum-control --window 4
# The published 34-parameter QKAN-LSTM: a circuit per edge, hidden size 1, one repetition, no gate bias.
for series in damped-shm bessel-j2; do
    compare "published-$series" "$series" --window 4 --cells qkan --group edge --no-bias --budget-params 35
done
# A circuit per edge at the sizes of one circuit per input, the default.
for series in duffing bessel-j2; do
    compare "per-edge-$series" "$series" --window 4 --cells qkan --group edge --budget-params 50,125,375
done
# The published four-way comparison, and the ablation of HQKAN-LSTM's circuit. 66 parameters are the smallest QLSTM.
for series in damped-shm bessel-j2; do
    compare "four-way-$series" "$series" --window 4 --cells lstm,qlstm,qkan,hqkan,lowrank --group edge \
        --budget-params 70,125,375,1250 --seeds 3
done
