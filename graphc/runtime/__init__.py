"""What stands between a Plan and a machine: the backend protocol, discovery by entry point, the object cache, profiles."""
