"""Parts of benchmark.py: clocks, our code and the peers."""
