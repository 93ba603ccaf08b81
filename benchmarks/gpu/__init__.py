"""``python -m benchmarks.gpu``: what the backends of GPUs compute and how fast, on one card in at most eight minutes.

It needs torch and Triton and nothing of this package installed: :mod:`benchmarks.gpu.tree` puts the checkout on the
path. Every phase is a process of its own, which writes its JSON after every case; a case that fails, hangs or breaks
the device costs itself alone. ``--dry`` needs no GPU: it builds kernels for cards that are not there, starts them with
a driver that runs nothing, and counts what a training step starts.
"""
