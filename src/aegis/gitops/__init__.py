"""The GitOps repository: its files, their rendering, promotions as commits, and what the cluster makes of them."""
