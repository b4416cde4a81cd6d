"""What does the workspace add to the command line? `isochat serve` and `isochat local`."""
