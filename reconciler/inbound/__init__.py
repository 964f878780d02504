"""The public listener: takes callbacks and makes them durable before it says 200."""
