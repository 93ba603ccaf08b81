"""The modules of this package in the clothes of other people's frameworks, one module a framework."""
