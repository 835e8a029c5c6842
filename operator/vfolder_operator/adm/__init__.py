"""`vfolder-adm`: adopt, migrate and rebuild what lies on a storage.

Arguments, output and the Kubernetes side; what is done on the disk is in
`vfolder_backends.adoption`.
"""
