"""Studies: several evaluations whose results only mean something side by side, and the report that says what."""
