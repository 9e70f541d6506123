"""Clients of the chat service and the user service: the port, the gRPC adapters, discovery in etcd."""
