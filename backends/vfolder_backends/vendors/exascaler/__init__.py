"""DDN EXAScaler, and any Lustre: project quotas through the program lfs."""
