"""The protocols of a service manager: sd_notify, watchdog pings, passed sockets."""
