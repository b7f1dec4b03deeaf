"""A server of ours as a part of other systems' pipelines; each needs the extra of its name."""
