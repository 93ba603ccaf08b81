"""Networks of layers (QKAN, JHCG Net) and their toolbox: fit, prune, refine, plot, closed forms."""
