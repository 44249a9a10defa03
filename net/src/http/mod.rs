//! The HTTP data plane: connections on shard threads, and the service they are handed over to.
