"""The operations that the command line and the admin API share, and the JSON that both print."""
