"""The command line: parse, call qkan.forecasting, print."""
