"""Hammerspace: shares with a size limit, REST v1.2."""
