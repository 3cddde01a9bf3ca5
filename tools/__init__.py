"""What the project's own checks need and its users do not: the import table and the test of the wheel."""
