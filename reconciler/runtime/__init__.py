"""Small building blocks that every room uses: the clock, bells, bounded waits, the disk."""
