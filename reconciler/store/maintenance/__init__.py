"""Work on a whole store: retention, checks, and copying into another database."""
