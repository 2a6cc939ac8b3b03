"""What annotation programs write, read as data sets."""
