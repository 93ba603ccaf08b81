"""Series from tables and files, every value and time checked."""
