"""Claims due deliveries, has them run, records what happened."""
