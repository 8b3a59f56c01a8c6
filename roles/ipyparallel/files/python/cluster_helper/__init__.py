"""Clusters of ipyparallel engines: ``cluster_helper.cluster`` starts one for a while, ``cluster_helper.config`` knows the keys of old."""
