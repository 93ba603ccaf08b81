"""Damaged files, random options, odd tensors, kills at random moments: each ends in a right result or one sentence.

``python -m torture`` with ``tests/support`` on the path runs all of them (``make torture``), the tests a few with the
same seeds. A kind of case is a module with ``COUNT`` and ``run(index, folder)``, which returns what was tried and how
it ended, and raises AssertionError where that is wrong. The index alone decides what is tried.
"""
