"""The protocols of systemd: sd_notify, watchdog pings, passed sockets."""
