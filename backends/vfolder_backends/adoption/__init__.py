"""Existing trees: looked at, adopted as they lie, migrated, and told again after a lost cluster.

The engine behind `vfolder-adm`. It works below an open root, by descriptors that follow no links,
and knows nothing of Kubernetes; what it finds is yielded one by one, so that a tree of millions of
folders needs no more memory than a small one.
"""
