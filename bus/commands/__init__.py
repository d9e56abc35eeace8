"""What `lgsp` can be told to do: a file per noun. They speak HTTP to a bus, or call one function; they decide nothing."""
