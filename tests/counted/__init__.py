"""What one message costs, counted and not timed: instructions, calls and system calls, the same on a busy machine."""
