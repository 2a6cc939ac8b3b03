"""The same networks in other programs, for the benchmarks: as others write them, and as files."""
