"""The chat service and the user service as the gateway uses them: what is asked, over gRPC, found in etcd."""
