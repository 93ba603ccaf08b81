"""The training loop, its checkpoints, processes and progress."""

#: The modules that other folders import.
__all__ = ["checkpoints", "distributed", "fitting", "lbfgs", "loop", "process_state", "progress", "trials"]
