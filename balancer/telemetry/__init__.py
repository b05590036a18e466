"""What the balancer tells: the stats segment, the access log, the metrics."""
