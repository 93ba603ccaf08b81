"""Benchmarks: correctness first, then time and memory, beside what users have today.

:mod:`~benchmarks.harness.measure` measures one training step, :mod:`~benchmarks.harness.candidates` lets candidates
take turns. A :mod:`~benchmarks.harness.work` is something to measure at one size: a :mod:`~benchmarks.layer`, a
recurrence (:mod:`~benchmarks.lstm`, compared by :mod:`~benchmarks.harness.lstm_truth`), single steps
(:mod:`~benchmarks.harness.stream`), a :mod:`~benchmarks.rational` activation or a :mod:`~benchmarks.block`.
:mod:`~benchmarks.harness.peer_modules` lists the packages that they are measured against, each in a
:mod:`~benchmarks.harness.peer_process` of its own. :mod:`~benchmarks.harness.growth` says how a work grows with its
sizes; :mod:`~benchmarks.harness.runs` does it all, :mod:`~benchmarks.harness.report` writes figures, tables and
pictures, and :mod:`~benchmarks.harness.command` is the command line.
"""
