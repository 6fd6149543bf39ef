"""What every room may use: errors, progress, files, memory."""
