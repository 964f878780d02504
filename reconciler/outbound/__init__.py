"""Makes single outgoing calls, and limits them: time, rate, breaker."""
