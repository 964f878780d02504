"""Delivers every result to the user's application, with the retries that Assure lacks."""
