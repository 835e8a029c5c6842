"""IBM Storage Scale: filesets and fileset quotas, management REST v2."""
