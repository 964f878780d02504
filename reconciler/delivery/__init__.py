"""Tells the user's application of every result, with the retries that Assure lacks."""
