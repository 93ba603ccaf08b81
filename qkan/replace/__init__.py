"""Replace MLPs, linear and recurrent layers of a model by layers of this package."""
