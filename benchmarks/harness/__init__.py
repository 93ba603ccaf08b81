"""Benchmarks: correctness first, then time and memory, beside what users have today.

:mod:`~benchmarks.harness.measure` measures one training step, :mod:`~benchmarks.harness.contest` lets contestants take
turns, :mod:`~benchmarks.harness.peers` runs other people's packages in environments of their own,
:mod:`~benchmarks.harness.report` writes figures, tables and pictures. A :mod:`~benchmarks.harness.work` is something to
measure at one size: a :mod:`~benchmarks.layer`, a recurrence (:mod:`~benchmarks.lstm`, compared by
:mod:`~benchmarks.harness.lstm_truth`) or single steps (:mod:`~benchmarks.harness.stream`);
:mod:`~benchmarks.harness.others` lists the packages that they are measured against. :mod:`~benchmarks.harness.growth`
says how a work grows with its sizes; :mod:`~benchmarks.harness.runs` does it all.
"""
