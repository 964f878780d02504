"""Work on a whole store: retention, checks, and copies into another database."""
