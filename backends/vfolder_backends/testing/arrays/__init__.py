"""Simulated arrays: HTTPS servers that keep state, check every word, enforce limits, and fail.

    documents, openapi, fieldtables   what the vendor published, and the check against it
    disk                              the file system underneath: usage, a writer, limits
    faults, jobs                      misfortunes on demand, work that takes time
    tokens                            who may call
    simulated                         the frame that a vendor's simulator fills in
    server, certificates, cli         served over TLS, in a test or as `vfolder-sim`

They are shipped so that the product can be tried without an array. They know nothing of our own
clients: what they check comes from the vendor's documents alone.
"""
