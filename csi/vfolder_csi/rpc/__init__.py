"""The gRPC services: validate, take the key, call, answer."""
