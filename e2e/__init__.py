"""End-to-end tests of VFolder and the local cluster that they run on."""
