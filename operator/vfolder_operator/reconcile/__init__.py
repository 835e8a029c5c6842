"""What is decided and done, one reconciler per kind; knows neither kopf nor vendors."""
