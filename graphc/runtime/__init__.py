"""What stands between a Plan and a machine: the backend protocol, discovery, the object cache, profiles."""
