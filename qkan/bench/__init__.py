"""Benchmarks: correctness first, then time and memory, beside what users have today.

:mod:`~qkan.bench.measure` measures one training step, :mod:`~qkan.bench.contest` lets contestants take turns,
:mod:`~qkan.bench.peers` runs other people's packages in environments of their own, :mod:`~qkan.bench.report` writes
figures, tables and pictures. A :mod:`~qkan.bench.work` is something to measure at one size: a
:mod:`~qkan.bench.layer`, a recurrence (:mod:`~qkan.bench.lstm`, compared by :mod:`~qkan.bench.lstm_truth`) or single
steps (:mod:`~qkan.bench.stream`); :mod:`~qkan.bench.others` lists the packages that they are measured against.
:mod:`~qkan.bench.growth` says how a work grows with its sizes; :mod:`~qkan.bench.runs` does it all.
"""
