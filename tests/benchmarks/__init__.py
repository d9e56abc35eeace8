"""Speed and memory, each beside a yardstick of the same run. `make bench` runs them; nothing here is asserted as a time."""
