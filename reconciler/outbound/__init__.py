"""What every outgoing call needs, whoever is called: connections, one exchange, a breaker."""
