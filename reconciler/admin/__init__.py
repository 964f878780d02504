"""The private listener: the API for applications and operators, and health."""
