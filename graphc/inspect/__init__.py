"""Looking inside: reports, stage texts, the command line."""
