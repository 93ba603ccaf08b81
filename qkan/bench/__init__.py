"""Benchmarks: correctness first, then time and memory, beside what users have today.

:mod:`~qkan.bench.measure` measures one training step, :mod:`~qkan.bench.contest` lets contestants take turns,
:mod:`~qkan.bench.peers` runs other people's packages in environments of their own, :mod:`~qkan.bench.report` writes
figures and pictures. :mod:`~qkan.bench.layer` and :mod:`~qkan.bench.layer_peers` say what a layer is measured against,
:mod:`~qkan.bench.growth` how that grows with its sizes; :mod:`~qkan.bench.layer_runs` does it all.
"""
