"""Entry of ``python -m benchmarks.gpu``."""

from benchmarks.gpu.tree import make_importable

if __name__ == "__main__":
    make_importable()

    from benchmarks.gpu.main import main

    raise SystemExit(main())
