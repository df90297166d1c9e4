"""What runs on a device, beside a bundle's files."""
